"""The part `eager`: A, A2, B and C, which compile nothing, and the attention kernel as shipped."""

from __future__ import annotations

import torch
from diffusers.models.attention_dispatch import attention_backend as shipped_attention

from models.flux.attention import attention_backend, choose_attention
from tools.gpubench.measures.timing import kernels
from tools.gpubench.networks.ways import own, shipped, shipped_flash, shipped_skipping
from tools.gpubench.parts.start import STOPS, build, error, picture, reference
from tools.gpubench.report.results import Part


def eager(part: Part) -> None:
    device = part.options.device
    rig = build(part)
    part.note("attention_as_shipped", attention_backend(device).name)
    spec = picture(part, STOPS[0])
    accuracy = reference(part, rig, spec.width)
    with part.attempt("kernels_A"), part.step("profile kernels"):
        part.note("kernels_A", kernels(lambda: accuracy.shipped(rig), device))
    of_shipped = accuracy.shipped(rig)
    known = error(accuracy, of_shipped)
    part.add("A", rig, shipped, spec, **known)
    part.add("B", rig, shipped_skipping, spec, **known)
    part.note("attention_chosen", choose_attention(device))  # for the rest of the process
    ours = accuracy.ours(rig)
    part.note("evaluation_of_C_equals_A", torch.equal(ours, of_shipped))
    part.add("C", rig, own, spec, **error(accuracy, ours))
    with part.attempt("A2"):
        with shipped_attention("_native_flash"):
            of_flash = accuracy.shipped(rig)
        part.add("A2", rig, shipped_flash, spec, **error(accuracy, of_flash))
