"""Telemetry: counters, logs, tracing spans."""
