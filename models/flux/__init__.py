"""FLUX's networks on a device: forward pass, compilation, 8-bit weights, streaming and attention.

Knows tensors and modules; knows no sampler, no request and no checkpoint.
"""
