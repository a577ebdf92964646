"""What `scripts/bench api` is made of: servers to measure, the load on them, one file a figure.

Knows app and Redis; knows no model.
"""
