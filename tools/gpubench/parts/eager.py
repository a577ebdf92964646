"""The part `eager`: A, A2, B and C, which compile nothing, and the attention kernel as shipped."""

from __future__ import annotations

import torch
from diffusers.models.attention_dispatch import attention_backend as shipped_attention
from torch import Tensor

from models.flux.attention import attention_backend, choose_attention
from tools.gpubench.measures.accuracy import Accuracy
from tools.gpubench.measures.timing import kernels
from tools.gpubench.networks.rig import Rig
from tools.gpubench.networks.ways import own, shipped, shipped_flash, shipped_skipping
from tools.gpubench.parts.start import STOPS, build, error, picture, reference
from tools.gpubench.report.results import Part


def eager(part: Part) -> None:
    device = part.options.device
    rig = build(part)
    part.note("attention_as_shipped", attention_backend(device).name)
    spec = picture(part, STOPS[0])
    accuracy = reference(part, rig, spec.width)
    known = error(part, "A", accuracy, lambda made: made.shipped(rig))
    part.add("A", rig, shipped, spec, **known)
    part.add("B", rig, shipped_skipping, spec, **known)
    if accuracy is not None:
        with part.attempt("kernels_A"), part.step("profile kernels"):
            part.note("kernels_A", kernels(lambda: accuracy.shipped(rig), device))
        with part.attempt("evaluation of C"):
            equal = torch.equal(accuracy.ours(rig), accuracy.shipped(rig))
            part.note("evaluation_of_C_equals_A", equal)
    part.note("attention_chosen", choose_attention(device))  # for the rest of the process
    known = error(part, "C", accuracy, lambda made: made.ours(rig))
    part.add("C", rig, own, spec, **known)
    known = error(part, "A2", accuracy, lambda made: _by_flash(made, rig))
    part.add("A2", rig, shipped_flash, spec, **known)


def _by_flash(accuracy: Accuracy, rig: Rig) -> Tensor:
    with shipped_attention("_native_flash"):
        return accuracy.shipped(rig)
