"""The part `extras`: F, I2 and D-static beside an A and a D of the same process."""

from __future__ import annotations

from functools import partial

import torch

from models import pipeline
from models.flux.compilation import compile_blocks
from models.spec import GenerationSpec
from tools.gpubench.measures.accuracy import Accuracy
from tools.gpubench.networks import torchao_float8
from tools.gpubench.networks.graphs import Recorder
from tools.gpubench.networks.rig import Rig
from tools.gpubench.networks.ways import own, shipped
from tools.gpubench.parts.start import STOPS, build, error, picture, reference, start
from tools.gpubench.report.results import Part


def extras(part: Part) -> None:
    rig = build(part)
    spec = picture(part, STOPS[0])
    accuracy = reference(part, rig, spec.width)
    part.add("A", rig, shipped, spec, **error(part, "A", accuracy, lambda made: made.shipped(rig)))
    if part.wants("D", "F"):
        with part.attempt("D"):
            start(part, rig, "exact", "compile exact")
            known = error(part, "D", accuracy, lambda made: made.ours(rig))
            part.add("D", rig, own, spec, **known)
            _graphed(part, rig, accuracy, spec)
    if part.wants("I2"):
        with part.attempt("I2"):
            _torchao(part, rig, accuracy, spec)
    if part.wants("D-static"):
        with part.attempt("D-static"):
            _static(part, rig, accuracy, spec)


def _graphed(part: Part, rig: Rig, accuracy: Accuracy | None, spec: GenerationSpec) -> None:
    if not part.wants("F"):
        return
    if part.options.device.type != "cuda":
        part.skip("F", "a CUDA graph needs a CUDA device")
        return
    with part.attempt("F"):
        recorder = Recorder(pipeline.prepare_denoiser)
        known = error(part, "F", accuracy, lambda made: made.ours(rig, prepare=recorder))
        part.add("F", rig, partial(own, prepare=recorder), spec, **known)


def _torchao(part: Part, rig: Rig, accuracy: Accuracy | None, spec: GenerationSpec) -> None:
    if not torchao_float8.available():
        part.skip("I2", torchao_float8.MISSING)
        return
    with part.step("compile torchao"):
        pair = torchao_float8.in_torchao_float8(rig.pair)
        compile_blocks(pair.blocks(), part.options.backend)
        rounded = rig.with_pair(pair)
        known = error(part, "I2", accuracy, lambda made: made.ours(rounded))
    part.add("I2", rounded, own, spec, **known)


def _static(part: Part, rig: Rig, accuracy: Accuracy | None, spec: GenerationSpec) -> None:
    """D with graphs for one size. The last of its process, for it forgets all other graphs."""
    with part.step("compile static"):
        torch._dynamo.reset()
        for block in rig.pair.blocks():
            block.compile(fullgraph=True, dynamic=False, backend=part.options.backend)
        known = error(part, "D-static", accuracy, lambda made: made.ours(rig))
    part.add("D-static", rig, own, spec, **known)
