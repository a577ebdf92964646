"""What `scripts/bench gpu` is made of: random FLUX, each way to run it, and how it is measured.

Knows torch, diffusers and models/; knows no server, and writes one JSON file and one chart.
"""
