"""The errors of the package models. Torch-free; knows nothing of HTTP statuses.

ModelError
├── NonFiniteLatents     a sampler produced NaN or infinity
├── TooManyEvaluations   an adaptive sampler did not converge
├── OutOfMemory          the work does not fit into the device's memory
├── DeviceLost           the device failed; a new process may succeed
├── LoraError            a LoRA file is missing, broken, refused or does not fit the model
├── UnknownLora          the folder of LoRAs has no file of this name
└── CheckpointError      the weights are missing, damaged or do not match
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error that this package raises. Its text may be sent to clients."""


class NonFiniteLatents(ModelError):
    """The latents contain NaN or infinity. They would decode to a black picture."""

    def __init__(self, sampler: str, schedule: str, step: int, steps: int) -> None:
        super().__init__(
            f"the latents became non-finite with sampler {sampler}, scheduler {schedule} "
            f"at step {step} of {steps}"
        )


class TooManyEvaluations(ModelError):
    """An adaptive sampler exceeded its limit of model evaluations."""

    def __init__(self, sampler: str, evaluations: int) -> None:
        super().__init__(f"sampler {sampler} found no end after {evaluations} model evaluations")


class OutOfMemory(ModelError):
    """The device has less memory than `work` needs. for_any_size: a smaller picture needs as much,
    so the text must not advise one."""

    def __init__(self, work: str, *, for_any_size: bool = False) -> None:
        advice = "a smaller picture needs as much" if for_any_size else "ask for a smaller picture"
        super().__init__(f"not enough device memory for {work}; {advice}")


class DeviceLost(ModelError):
    """The device failed while a checkpoint was loaded. A new process may succeed."""


class CheckpointError(ModelError):
    """Weights cannot be loaded."""


class UnknownLora(ModelError):
    """The folder of LoRAs has no file of this name. nearest: the names most like it."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        instead = f"; the nearest names are {', '.join(nearest)}" if nearest else ""
        super().__init__(f"there is no LoRA of the name {name!r}{instead}")
        self.nearest = nearest


class LoraError(ModelError):
    """A LoRA cannot be applied. name: of its file. reason: a clause with its own subject."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"LoRA {name} cannot be applied: {reason}")
        self.name = name
