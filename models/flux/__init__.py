"""FLUX's networks on a device: how they are walked, compiled, rounded, stored and given attention.

Knows tensors and modules; knows no sampler, no request and no checkpoint.
"""
