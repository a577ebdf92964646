"""What can go wrong inside the mathematics. Torch-free; knows nothing of HTTP statuses.

ModelError
├── NonFiniteLatents     a sampler produced NaN or infinity
├── TooManyEvaluations   an adaptive sampler found no end
├── OutOfMemory          the picture does not fit into the device's memory
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


class TooManyEvaluations(ModelError):
    """An adaptive sampler used up the model evaluations it may have."""

    def __init__(self, sampler: str, evaluations: int) -> None:
        super().__init__(f"sampler {sampler} found no end after {evaluations} model evaluations")


class OutOfMemory(ModelError):
    """The device has less memory than the picture needs."""

    def __init__(self, size: tuple[int, int], samples: int) -> None:
        width, height = size
        super().__init__(
            f"not enough device memory for {width}x{height} with samples {samples}; "
            "ask for a smaller picture"
        )


class CheckpointError(ModelError):
    """Weights cannot be loaded."""
