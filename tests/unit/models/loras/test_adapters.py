"""LoRAs of requests on the whole pipeline: nothing of one request stays for the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.checkpoints import LoadedCheckpoint
from models.checkpoints.loader import adapters_for
from models.errors import LoraError, NonFiniteLatents
from models.loras.lora_folder import LoraFolder
from models.loras.lora_options import LoraOptions
from models.pipeline import generate
from models.spec import GenerationSpec, Lora
from tests.support.networks import SMALL, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import with_networks
from tools.stand_in_loras import layer_shapes, random_lora, save_lora

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(prompt="an astronaut", control="canny", width=96, height=64, steps=15)
MAX_RANK = 24

Run = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def folder(stand_in: LoadedCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRAs: `style` of all layers, `clip` of the text encoder alone, `wide` of a high rank,
    `other` of another model."""
    folder = tmp_path_factory.mktemp("loras")
    transformer = layer_shapes(network_pair(SMALL).transformer)
    clip = layer_shapes(stand_in.pipe.text_encoder, ("layers.0.",))
    save_lora(folder, "style", random_lora(transformer, 4, 1))
    save_lora(folder, "wide", random_lora(transformer, MAX_RANK, 2))
    save_lora(folder, "clip", random_lora(clip, 4, 3, "text_encoder.text_model."))
    save_lora(folder, "other", random_lora({"proj_out": (99, 64)}, 4, 4))
    return folder


@pytest.fixture
def fresh(stand_in: LoadedCheckpoint, folder: Path) -> Callable[[], LoadedCheckpoint]:
    """A checkpoint as a new process loads it."""

    def load() -> LoadedCheckpoint:
        loaded = with_networks(stand_in, network_pair(SMALL), text_tokens=8)
        options = LoraOptions(folder, max_rank=MAX_RANK, cache_bytes=10_000_000)
        text_encoder, device = loaded.pipe.text_encoder, loaded.device
        return replace(loaded, adapters=adapters_for(text_encoder, device, loaded.dtype, options))

    return load


def named(folder: Path, name: str, scale: float = 1.0) -> Lora:
    return Lora(name, scale, LoraFolder(folder).find(name).sha256)


def picture(
    loaded: LoadedCheckpoint, *loras: Lora, spec: GenerationSpec = SPEC
) -> NDArray[np.uint8]:
    made = generate(loaded, replace(spec, loras=loras), astronaut(), lambda _step, _steps: None)
    return made.pictures[0]


@pytest.mark.parametrize("name", ["style", "clip"])
def test_a_lora_changes_the_picture_and_leaves_nothing_behind(
    fresh: Callable[[], LoadedCheckpoint], folder: Path, name: str
) -> None:
    lora, loaded = named(folder, name), fresh()
    with_lora, without, again = (picture(loaded, *loras) for loras in ((lora,), (), (lora,)))
    assert not np.array_equal(with_lora, without)
    assert np.array_equal(with_lora, again)
    assert np.array_equal(without, picture(fresh()))
    assert np.array_equal(with_lora, picture(fresh(), lora))


def test_scale_0_is_no_lora_bit_for_bit(
    fresh: Callable[[], LoadedCheckpoint], folder: Path
) -> None:
    loaded = fresh()
    assert np.array_equal(picture(loaded, named(folder, "style", 0.0)), picture(loaded))
    assert loaded.adapters.copied == 0


def test_a_picture_depends_on_the_scale_and_on_every_lora(
    fresh: Callable[[], LoadedCheckpoint], folder: Path
) -> None:
    loaded, style, clip = fresh(), named(folder, "style"), named(folder, "clip")
    half = replace(style, scale=0.5)
    sets = [(style,), (half,), (style, clip), (half, clip), (replace(style, scale=-1.0),)]
    made = [picture(loaded, *loras).tobytes() for loras in sets]
    assert len(set(made)) == len(sets)


def test_the_same_loras_are_copied_once_and_others_replace_them(
    fresh: Callable[[], LoadedCheckpoint], folder: Path
) -> None:
    loaded, style, clip = fresh(), named(folder, "style"), named(folder, "clip")
    copied = []
    for loras in ((style,), (style,), (), (style,), (clip,), (replace(style, scale=0.5),)):
        before = loaded.adapters.copied
        picture(loaded, *loras)
        copied.append(loaded.adapters.copied - before)
    size = (folder / "style.safetensors").stat().st_size
    assert copied[1:4] == [0, 0, 0]
    assert 0 < copied[0] == copied[5] < size
    assert 0 < copied[4] < copied[0]


@pytest.mark.parametrize("interrupted_at", [1, 3])
def test_an_interrupted_request_leaves_nothing_behind(
    fresh: Callable[[], LoadedCheckpoint], folder: Path, interrupted_at: int
) -> None:
    loaded = fresh()
    expected = picture(loaded)

    def on_step(step: int, _steps: int) -> None:
        if step == interrupted_at:
            raise SystemExit(3)

    spec = replace(SPEC, loras=(named(folder, "style"), named(folder, "clip")))
    with pytest.raises(SystemExit):
        generate(loaded, spec, astronaut(), on_step)
    assert loaded.adapters.of_text is None
    assert np.array_equal(picture(loaded), expected)


def test_a_failed_request_leaves_nothing_behind(
    fresh: Callable[[], LoadedCheckpoint], folder: Path
) -> None:
    loaded = fresh()
    expected = picture(loaded)
    for wrong in (named(folder, "other"), named(folder, "wide", 2.0), Lora("style", 1.0, "0" * 64)):
        with pytest.raises((LoraError, NonFiniteLatents)):
            picture(loaded, named(folder, "style"), wrong)
    assert np.array_equal(picture(loaded), expected)


@pytest.mark.parametrize(
    ("loras", "reason"),
    [
        (["style", "wide"], f"LoRA style, wide cannot .*rank 28 in all .* allows, {MAX_RANK}"),
        (["other"], "LoRA other cannot be applied: it is made for another model"),
        (["style", "gone"], r"LoRA gone cannot be applied: this worker has no such file"),
    ],
)
def test_what_cannot_be_applied_fails_the_request_with_the_name(
    fresh: Callable[[], LoadedCheckpoint], folder: Path, loras: list[str], reason: str
) -> None:
    named_loras = [Lora("gone") if name == "gone" else named(folder, name) for name in loras]
    with pytest.raises(LoraError, match=reason):
        picture(fresh(), *named_loras)


def test_a_worker_without_a_folder_fails_the_request(stand_in: LoadedCheckpoint) -> None:
    loaded = with_networks(stand_in, network_pair(SMALL), text_tokens=8)
    with pytest.raises(LoraError, match=r"LoRA style .*no folder of LoRAs \(LORAS_DIR\)"):
        picture(loaded, Lora("style"))


def test_a_lora_for_the_warm_up_changes_no_number(
    fresh: Callable[[], LoadedCheckpoint],
) -> None:
    loaded = fresh()
    layers = loaded.networks.of("exact").layers
    assert layers is not None
    blank = loaded.adapters.blank(layers)
    assert np.array_equal(picture(loaded, blank), picture(loaded))
    assert loaded.adapters.copied > 0


def test_a_lora_in_8_bits_works_like_one_in_full_precision(
    fresh: Callable[[], LoadedCheckpoint], folder: Path
) -> None:
    loaded, fast = fresh(), replace(SPEC, profile="fast")
    style = named(folder, "style")
    without = picture(loaded, spec=fast)
    assert not np.array_equal(picture(loaded, style, spec=fast), without)
    assert np.array_equal(picture(loaded, spec=fast), without)
    torch.testing.assert_close(
        torch.from_numpy(picture(loaded, style, spec=fast)).float().mean(),
        torch.from_numpy(picture(loaded, style)).float().mean(),
        rtol=0.1,
        atol=0,
    )
