"""A preview resembles the decoded picture, without the decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.denoiser import unpack
from models.pipeline import generate
from models.preview import PendingPreview, Preview
from models.spec import GenerationSpec
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def demo() -> LoadedCheckpoint:
    return load(CHECKPOINTS["demo"], torch.device("cpu"))


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Correlation of all levels, at the smaller one's size."""
    levels = [np.asarray(each.resize(one.size), np.float64).ravel() for each in (one, other)]
    return float(np.corrcoef(*levels)[0, 1])


def test_a_preview_resembles_its_picture(demo: LoadedCheckpoint) -> None:
    picture = astronaut((256, 128))
    latents = unpack(demo.autoencoder.encode(picture), 16, 32)
    made = demo.preview(latents).picture()
    assert made.size == (32, 16)
    assert likeness(made, picture.resize((32, 16), Image.Resampling.BOX)) > 0.9


def test_a_large_picture_has_no_larger_preview(demo: LoadedCheckpoint) -> None:
    made = demo.preview(torch.zeros(1, demo.autoencoder.channels, 256, 192)).picture()
    assert made.size == (96, 128)


def test_a_preview_is_fitted_once_and_to_its_own_autoencoder(demo: LoadedCheckpoint) -> None:
    asked = []

    class Watched:
        def encode(self, picture: Image.Image) -> Tensor:
            asked.append(picture)
            return demo.autoencoder.encode(picture)

    watched: Any = Watched()
    preview = Preview(watched)
    latents = torch.randn(1, demo.autoencoder.channels, 8, 8)
    assert torch.equal(preview(latents).levels, preview(latents).levels)
    assert len(asked) == 1


def test_a_preview_is_of_the_latents_at_the_time_of_the_call(demo: LoadedCheckpoint) -> None:
    """A sampler may write into them afterwards."""
    latents = torch.randn(1, demo.autoencoder.channels, 8, 8)
    expected = demo.preview(latents.clone()).picture()
    pending = demo.preview(latents)
    latents.zero_()
    assert pending.picture().tobytes() == expected.tobytes()


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the copies from the device, and those for which the host waits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.copied: list[torch.Size] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        if name in ("aten.nonzero", "aten._local_scalar_dense"):
            self.waits.append(name)
        given = dict(zip((each.name for each in func._schema.arguments), args, strict=False))
        given |= kwargs or {}
        source = given.get("src", given.get("self"))
        if isinstance(source, Tensor) and isinstance(result, Tensor):
            if source.device.type == "cuda" and result.device.type == "cpu":
                self.copied.append(result.shape)
            if source.device != result.device and not given.get("non_blocking"):
                self.waits.append(name)
        return result


def test_the_host_does_not_wait_for_the_device_and_copies_one_byte_a_colour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Event:
        def record(self, stream: str) -> None:
            happened.append(f"recorded on {stream}, after {len(waits.copied)} copy")

        def synchronize(self) -> None:
            happened.append("waited for")

    happened: list[str] = []
    waits = Waits()
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    unused: Any = None
    preview = Preview(unused)
    with FakeTensorMode(), waits:
        preview._colours = torch.empty(17, 3, device="cuda")
        pending = preview(torch.empty(1, 16, 128, 96, device="cuda"))
    assert waits.waits == []
    assert waits.copied == [(128, 96, 3)]
    assert pending.levels.dtype == torch.uint8
    assert happened == ["recorded on the stream of cuda:0, after 1 copy"]
    PendingPreview(torch.zeros(2, 2, 3, dtype=torch.uint8), pending.copied).picture()
    assert happened[1:] == ["waited for"]


def test_latents_that_are_not_finite_have_a_preview(demo: LoadedCheckpoint) -> None:
    latents = torch.full((1, demo.autoencoder.channels, 8, 8), torch.nan)
    assert demo.preview(latents).picture().size == (8, 8)


def test_previews_become_the_picture(demo: LoadedCheckpoint) -> None:
    """And whether anybody looks makes no difference to it."""
    spec = GenerationSpec(
        prompt="a red ball on a beige background",
        control="tile",
        width=64,
        height=64,
        strength=1.0,
        stop=1.0,
        steps=15,
        seed=3,
        samples=2,
    )
    shown: list[Image.Image] = []
    steps: list[int] = []

    def on_prediction(denoised: Tensor) -> None:
        assert len(shown) == len(steps)  # before the step is reported
        shown.append(demo.preview(denoised).picture())

    def on_step(step: int, _steps: int) -> None:
        steps.append(step)

    source = astronaut((64, 64))
    watched = generate(demo, spec, source, on_step, on_prediction=on_prediction)
    alone = generate(demo, spec, source, lambda _step, _steps: None)
    for one, other in zip(watched.pictures, alone.pictures, strict=True):
        assert np.array_equal(one, other)
    assert len(shown) == len(steps) == 30
    for index, pixels in enumerate(watched.pictures):
        picture = Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX)
        first, last = shown[15 * index], shown[15 * index + 14]
        assert likeness(last, picture) > 0.9
        assert likeness(last, picture) > likeness(first, picture)
