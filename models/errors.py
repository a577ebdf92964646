"""What can go wrong inside the mathematics. Torch-free; knows nothing of HTTP statuses.

ModelError
├── NonFiniteLatents     a sampler produced NaN or infinity
└── CheckpointError      the weights are missing or are not what they claim to be
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error this package raises on purpose; its text may be shown to a client."""


class NonFiniteLatents(ModelError):
    """The latents left the real numbers; a black picture must never be served instead."""

    def __init__(self, sampler: str, schedule: str, step: int, steps: int) -> None:
        super().__init__(
            f"the latents became non-finite with sampler {sampler}, scheduler {schedule} "
            f"at step {step} of {steps}"
        )


class CheckpointError(ModelError):
    """Weights cannot be loaded."""
