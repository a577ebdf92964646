"""The part `compiled`: A, D, I and J with their accuracy, and the arithmetic floor."""

from __future__ import annotations

from models.flux.compilation import compiled_graphs
from models.sampling import control_active, sigmas_for
from tools.gpubench.measures.accuracy import Accuracy
from tools.gpubench.measures.floor import floor_seconds, picture_flop, product_rate
from tools.gpubench.measures.memory import planned_on_large_card
from tools.gpubench.measures.timing import kernels
from tools.gpubench.networks.rig import Rig
from tools.gpubench.networks.ways import own, shipped
from tools.gpubench.options import SIDE
from tools.gpubench.parts.start import STOPS, build, error, picture, reference, start
from tools.gpubench.report.results import Part

_PRODUCT_SIZE = {True: 256, False: 8192}
"""By whether the networks are tiny."""


def compiled(part: Part) -> None:
    rig = build(part)
    with part.attempt("floor"):
        _floor(part)
    spec = picture(part, STOPS[0])
    accuracy = reference(part, rig, spec.width)
    known = error(part, "A", accuracy, lambda made: made.shipped(rig))
    for stop in STOPS:
        part.add("A", rig, shipped, picture(part, stop), **known)
    if part.wants("D"):
        with part.attempt("D"):
            _exact(part, rig, accuracy)
    if part.wants("I", "J"):
        with part.attempt("I"):
            _float8(part, rig.without_copies(), accuracy)
    part.note("graphs_at_end", compiled_graphs())


def _exact(part: Part, rig: Rig, accuracy: Accuracy | None) -> None:
    start(part, rig, "exact", "compile exact")
    known = error(part, "D", accuracy, lambda made: made.ours(rig)) | _planned(part, "exact")
    for stop in STOPS:
        part.add("D", rig, own, picture(part, stop), **known)
    if accuracy is not None:
        with part.attempt("kernels_D"), part.step("profile kernels"):
            part.note("kernels_D", kernels(lambda: accuracy.ours(rig), part.options.device))


def _float8(part: Part, rig: Rig, accuracy: Accuracy | None) -> None:
    start(part, rig, "fast", "compile fast")
    known = error(part, "I", accuracy, lambda made: made.ours(rig, "fast"))
    known |= _planned(part, "fast")
    for stop in STOPS:
        part.add("I", rig, own, picture(part, stop, "fast"), **known)
        part.add("J", rig, own, picture(part, stop, "turbo"), **known)


def _planned(part: Part, profile: str) -> dict[str, float]:
    return planned_on_large_card(profile, part.options.device, SIDE**2)


def _floor(part: Part) -> None:
    options = part.options
    with part.step("measure the floor"):
        flop = picture_flop(options.shape, options.side(SIDE))
        rate = product_rate(options.device, _PRODUCT_SIZE[options.tiny])
    seconds = {}
    for stop in STOPS:
        spec = picture(part, stop)
        sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)[:-1].tolist()
        controlled = sum(control_active(sigma, stop, spec.mu) for sigma in sigmas)
        seconds[str(stop)] = round(floor_seconds(flop, rate, spec.steps, controlled), 4)
    tflop = {name: round(count / 1e12, 3) for name, count in flop.items()}
    part.note("floor", {"tflop": tflop, "tflop_per_s": round(rate / 1e12, 1), "seconds": seconds})
