"""The demo's LoRA: its style, its side paths, a short training, and the file that is shipped."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image
from safetensors import safe_open

from models.checkpoints.demo import WEIGHTS
from models.checkpoints.loader import SUMS_FILE
from models.loras.lora_file import read_lora_file
from models.loras.lora_folder import DEMO_LORAS
from models.loras.weights import read_weights
from tools.demobench.metrics import cyanotype_psnr
from tools.demobench.styles import demo_with, draw_style, measure_style
from tools.demotraining.batches import Phase
from tools.demotraining.export import trained_in
from tools.demotraining.lessons import Order, Style, Words, lessons, styled_lessons
from tools.demotraining.lora.__main__ import METADATA
from tools.demotraining.lora.side_paths import SidePaths, new_side_paths, write
from tools.demotraining.lora.style import NAME, cyanotype, with_trigger
from tools.demotraining.lora.training import Course, train_lora
from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer

pytestmark = [pytest.mark.tools, pytest.mark.torch]

FILE = DEMO_LORAS / f"{NAME}.safetensors"
ORDER = Order((64, 64), scenes=12, textures=3, mapped=12)
COURSE = Course(3, 1, rank=2, orders=(ORDER,), phase=Phase(1.0, (("64x64", 4, 1.0),)))

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def transformer() -> FluxTransformer2DModel:
    return trained_in(WEIGHTS, torch.device("cpu")).transformer.requires_grad_(False)


def outputs(transformer: FluxTransformer2DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    (velocity,) = transformer(
        hidden_states=random(1, 4, 32),
        encoder_hidden_states=random(1, 3, 96),
        pooled_projections=random(1, 64),
        timestep=torch.tensor([0.5]),
        guidance=torch.tensor([3.5]),
        img_ids=torch.zeros(4, 3),
        txt_ids=torch.zeros(3, 3),
        return_dict=False,
    )
    return velocity


def random_side_paths(transformer: FluxTransformer2DModel) -> SidePaths:
    torch.manual_seed(0)
    paths = new_side_paths(transformer, 2)
    for up in paths.up:
        torch.nn.init.normal_(up, std=0.1)
    return paths.requires_grad_(False)


def test_a_cyanotype_keeps_brightness_and_is_its_own_cyanotype() -> None:
    picture = RNG.integers(60, 200, (32, 32, 3)).astype(np.uint8)
    styled = cyanotype(picture)
    luma = np.array((0.299, 0.587, 0.114))
    assert np.abs(styled @ luma - picture @ luma).max() < 1
    assert np.abs(cyanotype(styled).astype(int) - styled).max() <= 1
    assert (styled[..., 2] >= styled[..., 0]).all()


def test_the_metric_rises_as_a_picture_turns_into_a_cyanotype() -> None:
    picture = RNG.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    styled = cyanotype(picture)
    half = ((picture.astype(int) + styled) // 2).astype(np.uint8)
    scores = [cyanotype_psnr(one) for one in (picture, half, styled)]
    assert scores[0] < scores[1] - 4 < scores[2] - 20


def test_new_side_paths_change_no_bit(transformer: FluxTransformer2DModel) -> None:
    plain = outputs(transformer)
    with new_side_paths(transformer, 2).applied(transformer):
        assert torch.equal(outputs(transformer), plain)


def test_side_paths_equal_weights_with_the_product_added(
    transformer: FluxTransformer2DModel,
) -> None:
    paths, plain = random_side_paths(transformer), outputs(transformer)
    with paths.applied(transformer):
        beside = outputs(transformer)
    assert torch.equal(outputs(transformer), plain)
    merged = copy.deepcopy(transformer)
    with torch.no_grad():
        for name, down, up in zip(paths.names, paths.down, paths.up, strict=True):
            merged.get_parameter(f"{name}.weight").add_(up @ down)
    assert torch.allclose(outputs(merged), beside, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(beside, plain, rtol=1e-2, atol=1e-2)


def test_attention_and_feed_forward_of_every_block_are_adapted(
    transformer: FluxTransformer2DModel,
) -> None:
    names = new_side_paths(transformer, 2).names
    assert len(names) == 2 * 12 + 4 * 5
    assert {"transformer_blocks.0.attn.to_out.0", "single_transformer_blocks.3.proj_mlp"} < {*names}
    assert not any("norm" in name for name in names)


def test_a_written_file_is_a_lora_that_the_server_reads(
    transformer: FluxTransformer2DModel, tmp_path: Path
) -> None:
    paths = random_side_paths(transformer)
    write(paths, tmp_path / "style.safetensors", METADATA)
    file = read_lora_file(tmp_path / "style.safetensors")
    assert (file.error, file.format, file.rank, file.layers) == (None, "diffusers", 2, 44)
    assert (file.base_model, file.trigger_words) == ("demo/lora", (NAME,))
    weights = read_weights("style", file.path.read_bytes()).transformer
    assert {*weights} == {*paths.names}
    for name, down, up in zip(paths.names, paths.down, paths.up, strict=True):
        assert torch.allclose(weights[name].down.float(), down, rtol=1e-3, atol=1e-4)
        assert torch.allclose(weights[name].up.float(), up, rtol=1e-3, atol=1e-4)


def test_styled_lessons_have_the_maps_of_the_pictures_as_they_were_drawn(tmp_path: Path) -> None:
    trained = trained_in(WEIGHTS, torch.device("cpu"))
    words = Words(clip_tokenizer(), t5_tokenizer())
    drawn = lessons(tmp_path, ORDER, trained.vae, words, 1)
    styled = styled_lessons(ORDER, trained.vae, words, 1, Style(cyanotype, with_trigger))
    for control in ("canny", "depth"):
        assert torch.equal(styled.maps[control], drawn.maps[control])
    assert torch.equal(styled.map_of("tile", 3), drawn.latents[3])
    assert torch.equal(drawn.map_of("tile", 3), drawn.latents[3])
    assert len(styled.rows_with(("tile",))) == 15
    assert not torch.equal(styled.latents[3], drawn.latents[3])
    named = [not torch.equal(*pair) for pair in zip(styled.t5_ids, drawn.t5_ids, strict=True)]
    assert named == [index % 2 == 1 for index in range(15)]


def test_a_training_is_repeatable_and_changes_only_the_side_paths(tmp_path: Path) -> None:
    files = []
    for run in range(2):
        trained = trained_in(WEIGHTS, torch.device("cpu"))
        before = [weight.clone() for weight in trained.transformer.state_dict().values()]
        steps: list[int] = []
        paths = train_lora(COURSE, trained, lambda step, _loss, done=steps: done.append(step))
        assert steps == [1, 2, 3]
        assert all(up.abs().max() > 0 for up in paths.up)
        after = trained.transformer.state_dict().values()
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
        files.append(tmp_path / f"{run}.safetensors")
        write(paths, files[-1], METADATA)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_shipped_file_is_small_and_has_its_sum_and_its_metadata() -> None:
    assert FILE.stat().st_size < 1_000_000
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert (DEMO_LORAS / SUMS_FILE).read_text() == f"{digest}  {FILE.name}\n"
    with safe_open(FILE, "np") as opened:
        assert opened.metadata() == {"format": "pt", **METADATA}


def test_the_shipped_style_is_stronger_at_a_larger_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, file = demo_with(FILE)
    row = measure_style(demo, file, "gray", 1, (0.0, 0.5, 1.0))
    assert row["style 0"] + 6 < row["style 0.5"] < row["style 1"] - 6
    assert row["style 1"] > 30
    assert row["control 1"] > 20
    monkeypatch.setattr("tools.demobench.styles.CONTROLS", ("tile",))
    draw_style(demo, file, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (6 * 148, 148)
