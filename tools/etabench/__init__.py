"""Replays mixed workloads in simulated time against the real estimates."""
