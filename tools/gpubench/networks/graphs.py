"""Runs one evaluation as a CUDA graph: a single launch instead of some 4000.

Bench only. Owns the buffers that a recorded evaluation reads (tokens, text, control, time), and
reaches into models/denoiser.py and models/flux/networks.py for them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from models.checkpoints import LoadedCheckpoint
from models.denoiser import ControlledDenoiser, pack, unpack
from models.flux.networks import ControlNet, _Conditioned
from models.spec import GenerationSpec
from tools.gpubench.networks.rig import Prepare

Evaluation = Callable[[], Tensor]
Record = Callable[[Evaluation], Evaluation]
Network = TypeVar("Network", bound=_Conditioned)


def cuda_graph(evaluation: Evaluation) -> Evaluation:
    """The evaluation recorded: each call runs it again on the same buffers."""
    # Whatever plans or loads at a first call must have done so before the recording.
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):
            evaluation()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = evaluation()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


class _Still(Generic[Network]):
    """A network whose text and time embedding always stand in the same tensors."""

    def __init__(self, network: Network) -> None:
        self.call = copy.copy(network)
        self._embedding = network.embedding(1.0).clone()
        self.call.embedding = self._held  # type: ignore[method-assign]
        self._fresh = network

    def _held(self, sigma: float) -> Tensor:  # noqa: ARG002 - the network's own method
        return self._embedding

    def adopt(self, fresh: Network) -> None:
        """Take over what another request of the same size tells its network."""
        self._fresh = fresh
        self.call.text.copy_(fresh.text)

    def at(self, sigma: float) -> None:
        self._embedding.copy_(self._fresh.embedding(sigma))


class _StillControl(_Still[ControlNet]):
    """A ControlNet whose control map stands still as well."""

    def adopt(self, fresh: ControlNet) -> None:
        super().adopt(fresh)
        assert self.call._control is not None
        assert fresh._control is not None
        self.call._control.copy_(fresh._control)


class _Recorded(ControlledDenoiser):
    """`first`, which has one control, with its evaluation recorded twice: with the ControlNet and
    without."""

    def __init__(self, first: ControlledDenoiser, record: Record) -> None:
        super().__init__(first._transformer, first._controls, first._mu)
        (control,) = first._controls
        self._record = record
        self._still_transformer = _Still(first._transformer)
        self._still_controlnet = _StillControl(control.controlnet)
        self._tokens: Tensor | None = None
        self._replays: dict[bool, Evaluation] = {}

    def adopt(self, fresh: ControlledDenoiser) -> None:
        """Become the denoiser of another request."""
        (control,) = fresh._controls
        self._still_transformer.adopt(fresh._transformer)
        self._still_controlnet.adopt(control.controlnet)
        self._controls, self._mu = fresh._controls, fresh._mu
        self.evaluations = self.controlled = 0

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        tokens, controlled = pack(x.to(self._dtype)), bool(self.controls(sigma))
        if self._tokens is None:
            self._tokens = tokens.clone()
        self._tokens.copy_(tokens)
        self._still_transformer.at(sigma)
        if controlled:
            self._still_controlnet.at(sigma)
        if controlled not in self._replays:
            self._replays[controlled] = self._record(lambda: self._evaluate(controlled))
        velocity = self._replays[controlled]()
        self.count(sigma)
        return unpack(velocity, *x.shape[-2:]).to(x.dtype)

    def _evaluate(self, controlled: bool) -> Tensor:
        assert self._tokens is not None
        residuals = self._still_controlnet.call(self._tokens, 1.0) if controlled else None
        return self._still_transformer.call(self._tokens, 1.0, residuals)


class Recorder:
    """Stands in prepare_denoiser's place for requests of one size and strength."""

    def __init__(self, prepare: Prepare, record: Record = cuda_graph) -> None:
        self._prepare, self._record = prepare, record
        self._recorded: _Recorded | None = None

    def __call__(
        self, loaded: LoadedCheckpoint, spec: GenerationSpec, control_maps: Sequence[Image.Image]
    ) -> ControlledDenoiser:
        fresh = self._prepare(loaded, spec, control_maps)
        if self._recorded is None:
            self._recorded = _Recorded(fresh, self._record)
        self._recorded.adopt(fresh)
        return self._recorded
