"""Shared by api and workers: knows Redis and RQ, knows neither FastAPI nor torch."""
