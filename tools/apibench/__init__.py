"""The benchmark `scripts/bench api`: the servers, their load, and the figures.

Knows app and Redis; knows no model.
"""
