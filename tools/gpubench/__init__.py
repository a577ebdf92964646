"""The benchmark `scripts/bench gpu`: FLUX with random weights, the ways to run it, the measuring.

Knows torch, diffusers and models/; knows no server, and writes one JSON file and one chart.
"""
