"""Files of every trainer become the same change of weights; what would be lost is refused.

The names and widths are those of FLUX.1-dev, the ranks tiny.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from models.errors import LoraError
from models.loras.low_rank import LoraWeights, LowRank
from models.loras.weights import read_weights

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[4]

WIDTH, MLP, RANK, ALPHA = 3072, 12288, 4, 1.0

Layers = dict[str, tuple[int, int]]

# black-forest-labs/flux: layer -> (inputs, outputs), and the layers of diffusers that it becomes.
BFL = {
    "double_blocks.3.img_attn.qkv": ((WIDTH, 3 * WIDTH), "transformer_blocks.3.attn.to_{qkv}"),
    "double_blocks.3.txt_attn.qkv": (
        (WIDTH, 3 * WIDTH),
        "transformer_blocks.3.attn.add_{qkv}_proj",
    ),
    "double_blocks.3.img_attn.proj": ((WIDTH, WIDTH), "transformer_blocks.3.attn.to_out.0"),
    "double_blocks.3.txt_attn.proj": ((WIDTH, WIDTH), "transformer_blocks.3.attn.to_add_out"),
    "double_blocks.3.img_mlp.0": ((WIDTH, MLP), "transformer_blocks.3.ff.net.0.proj"),
    "double_blocks.3.img_mlp.2": ((MLP, WIDTH), "transformer_blocks.3.ff.net.2"),
    "double_blocks.3.txt_mlp.0": ((WIDTH, MLP), "transformer_blocks.3.ff_context.net.0.proj"),
    "double_blocks.3.img_mod.lin": ((WIDTH, 6 * WIDTH), "transformer_blocks.3.norm1.linear"),
    "double_blocks.3.txt_mod.lin": (
        (WIDTH, 6 * WIDTH),
        "transformer_blocks.3.norm1_context.linear",
    ),
    "single_blocks.30.linear2": (
        (WIDTH + MLP, WIDTH),
        "single_transformer_blocks.30.proj_out",
    ),
    "single_blocks.30.modulation.lin": (
        (WIDTH, 3 * WIDTH),
        "single_transformer_blocks.30.norm.linear",
    ),
    "img_in": ((64, WIDTH), "x_embedder"),
    "txt_in": ((4096, WIDTH), "context_embedder"),
    "final_layer.linear": ((WIDTH, 64), "proj_out"),
    "time_in.in_layer": ((256, WIDTH), "time_text_embed.timestep_embedder.linear_1"),
    "vector_in.out_layer": ((WIDTH, WIDTH), "time_text_embed.text_embedder.linear_2"),
    "guidance_in.in_layer": ((256, WIDTH), "time_text_embed.guidance_embedder.linear_1"),
}
XLABS = {
    "double_blocks.3.processor.qkv_lora1": BFL["double_blocks.3.img_attn.qkv"],
    "double_blocks.3.processor.qkv_lora2": BFL["double_blocks.3.txt_attn.qkv"],
    "double_blocks.3.processor.proj_lora1": BFL["double_blocks.3.img_attn.proj"],
    "double_blocks.3.processor.proj_lora2": BFL["double_blocks.3.txt_attn.proj"],
    "single_blocks.30.processor.qkv_lora": (
        (WIDTH, 3 * WIDTH),
        "single_transformer_blocks.30.attn.to_{qkv}",
    ),
    "single_blocks.30.processor.proj_lora": (
        (WIDTH + MLP, WIDTH),
        "single_transformer_blocks.30.proj_out",
    ),
}


def matrices(shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """down, up"""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(RANK, shape[0], generator=generator),
        torch.randn(shape[1], RANK, generator=generator),
    )


def change(low_rank: LowRank, x: Tensor) -> Tensor:
    return low_rank.scaling * (low_rank.up @ (low_rank.down @ x))


def parts_of(pattern: str) -> list[str]:
    return [pattern.format(qkv=part) for part in "qkv"] if "{" in pattern else [pattern]


def check(
    name: Callable[[str], tuple[str, str, str]],
    layers: dict[str, tuple[tuple[int, int], str]],
    *,
    alpha: float | None,
) -> None:
    """name: of a layer -> the names of its down, up and alpha."""
    tensors = {}
    for seed, (layer, (shape, _)) in enumerate(layers.items()):
        names = name(layer)
        tensors |= dict(zip(names, matrices(shape, seed), strict=False))
        if alpha is not None:
            tensors[names[2]] = torch.tensor(alpha)
    weights = read_weights("style", save(tensors))
    assert not weights.text_encoder
    expected = chain.from_iterable(parts_of(pattern) for _, pattern in layers.values())
    assert sorted(weights.transformer) == sorted(expected)
    for seed, (shape, pattern) in enumerate(layers.values()):
        down, up = matrices(shape, seed)
        x = torch.linspace(-1, 1, shape[0])
        whole = up @ (down @ x) * (1 if alpha is None else alpha / RANK)
        parts = [change(weights.transformer[part], x) for part in parts_of(pattern)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-4)


def kohya(layer: str) -> tuple[str, str, str]:
    base = f"lora_unet_{layer.replace('.', '_')}"
    return f"{base}.lora_down.weight", f"{base}.lora_up.weight", f"{base}.alpha"


def with_prefix(prefix: str, down: str, up: str) -> Callable[[str], tuple[str, str, str]]:
    return lambda layer: (
        f"{prefix}{layer}.{down}",
        f"{prefix}{layer}.{up}",
        f"{prefix}{layer}.alpha",
    )


PEFT = "lora_A.weight", "lora_B.weight"
DIFFUSERS = {
    part: ((shape[0], shape[1] // len(parts_of(pattern))), part)
    for shape, pattern in BFL.values()
    for part in parts_of(pattern)
}


@pytest.mark.parametrize("alpha", [None, ALPHA, 8.0])
def test_kohya(alpha: float | None) -> None:
    check(kohya, BFL, alpha=alpha)


def test_kohya_of_the_single_blocks_joined_layer() -> None:
    """Query, key, value and the MLP's input in one."""
    names = kohya("single_blocks.7.linear1")
    down, up = matrices((WIDTH, 3 * WIDTH + MLP), 5)
    content = save({**dict(zip(names, (down, up), strict=False)), names[2]: torch.tensor(2.0)})
    weights = read_weights("style", content).transformer
    parts = [*(f"attn.to_{part}" for part in "qkv"), "proj_mlp"]
    x = torch.linspace(-1, 1, WIDTH)
    made = torch.cat([change(weights[f"single_transformer_blocks.7.{part}"], x) for part in parts])
    torch.testing.assert_close(made, up @ (down @ x) * 0.5, rtol=1e-5, atol=1e-4)


def test_xlabs() -> None:
    check(lambda layer: (f"{layer}.down.weight", f"{layer}.up.weight", ""), XLABS, alpha=None)


@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_diffusers(prefix: str, alpha: float | None) -> None:
    check(with_prefix(prefix, *PEFT), DIFFUSERS, alpha=alpha)


def test_older_diffusers() -> None:
    named = with_prefix("transformer.", "lora.down.weight", "lora.up.weight")
    check(named, DIFFUSERS, alpha=None)


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_peft_saves_every_layer_below_its_own_model(alpha: float | None) -> None:
    check(with_prefix("base_model.model.", *PEFT), DIFFUSERS, alpha=alpha)
    named = with_prefix("base_model.model.", "lora_A.default.weight", "lora_B.default.weight")
    check(named, DIFFUSERS, alpha=None)


@pytest.mark.parametrize("prefix", ["diffusion_model.", "base_model.model."])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_ai_toolkit_and_peft_with_the_names_of_black_forest_labs(
    prefix: str, alpha: float | None
) -> None:
    check(with_prefix(prefix, *PEFT), BFL, alpha=alpha)


def test_the_two_halves_of_the_last_modulation_change_places() -> None:
    """black-forest-labs/flux has shift and scale, diffusers scale and shift."""
    names = kohya("final_layer.adaLN_modulation.1")
    down, up = matrices((WIDTH, 2 * WIDTH), 0)
    content = save({**dict(zip(names, (down, up), strict=False)), names[2]: torch.tensor(1.0)})
    made = read_weights("style", content).transformer["norm_out.linear"]
    x = torch.linspace(-1, 1, WIDTH)
    expected = (up @ (down @ x)).roll(WIDTH) / RANK
    torch.testing.assert_close(change(made, x), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("use_rslora", [False, True])
def test_alpha_of_pefts_metadata(use_rslora: bool) -> None:
    layers = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_q")
    config = {
        "transformer.r": RANK,
        "transformer.lora_alpha": 8,
        "transformer.alpha_pattern": {"transformer_blocks.1.attn.to_q": 2},
        "transformer.use_rslora": use_rslora,
    }
    tensors = {}
    for layer in layers:
        down, up = matrices((8, 8), 0)
        tensors |= {f"transformer.{layer}.{PEFT[0]}": down, f"transformer.{layer}.{PEFT[1]}": up}
    content = save(tensors, {"lora_adapter_metadata": json.dumps(config)})
    weights = read_weights("style", content).transformer
    divisor = 2 if use_rslora else 4  # the root of the rank, or the rank
    assert [weights[layer].scaling for layer in layers] == [8 / divisor, 2 / divisor]


def clip_of_kohya(layer: str) -> str:
    return f"lora_te1_text_model_{layer.replace('.', '_')}"


@pytest.mark.parametrize("naming", ["kohya", "diffusers"])
def test_the_text_encoder_clip(naming: str) -> None:
    layers = [f"encoder.layers.1.self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
    layers += ["encoder.layers.1.mlp.fc1", "encoder.layers.1.mlp.fc2"]
    tensors = {}
    for seed, layer in enumerate(layers):
        down, up = matrices((8, 8), seed)
        if naming == "kohya":
            base, ends = clip_of_kohya(layer), ("lora_down.weight", "lora_up.weight")
            tensors[f"{base}.alpha"] = torch.tensor(2.0)
        else:
            base, ends = f"text_encoder.text_model.{layer}", PEFT
        tensors |= {f"{base}.{ends[0]}": down, f"{base}.{ends[1]}": up}
    weights = read_weights("style", save(tensors))
    assert not weights.transformer
    assert sorted(weights.text_encoder) == sorted(layers)
    x = torch.linspace(-1, 1, 8)
    for seed, layer in enumerate(layers):
        down, up = matrices((8, 8), seed)
        expected = up @ (down @ x) * (0.5 if naming == "kohya" else 1)
        torch.testing.assert_close(change(weights.text_encoder[layer], x), expected)


def lora(names: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.ones(shape) for name, shape in names.items()}


PAIR = {"transformer.proj_out.lora_A.weight": (2, 8), "transformer.proj_out.lora_B.weight": (8, 2)}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (
            {**PAIR, "transformer.transformer_blocks.0.attn.to_q.dora_scale": (8,)},
            "it is a DoRA",
        ),
        (
            {"lora_unet_double_blocks_0_img_attn_proj.lokr_w1": (2, 2)},
            "it is a LyCORIS network",
        ),
        (
            {
                "double_blocks.0.img_attn.norm.query_norm.scale": (128,),
                "img_in.lora_A.weight": (2, 128),
                "img_in.lora_B.weight": (8, 2),
            },
            "it is a control LoRA of Black Forest Labs",
        ),
        ({"lora_te3_encoder_block_0.lora_down.weight": (2, 8)}, "the text encoder T5"),
        ({"lora_unet_double_blocks_0_img_mod_lin.diff": (8, 8)}, "full differences"),
        (
            {"lora_unet_double_blocks_0_img_mod_lin.lora_down.weight": (2, 8)},
            "it has only down of the layer",
        ),
        (
            {
                "lora_unet_double_blocks_99_img_mod_lin.lora_down.weight": (2, 8),
                "lora_unet_double_blocks_99_img_mod_lin.lora_up.weight": (8, 2),
            },
            "its layer lora_unet_double_blocks_99_img_mod_lin",
        ),
        (
            {
                "lora_unet_single_blocks_0_linear1.lora_down.weight": (2, 8),
                "lora_unet_single_blocks_0_linear1.lora_up.weight": (56, 2),
            },
            "its layer lora_unet_single_blocks_0_linear1",
        ),
        (
            {
                "transformer.proj_out.lora_A.weight": (2, 8),
                "transformer.proj_out.lora_B.weight": (8, 3),
            },
            "its layer transformer.proj_out has no pair of matrices of one rank",
        ),
        ({"unet.conv.weight": (8, 8)}, "unet.conv.weight"),
    ],
)
def test_nothing_is_dropped(tensors: dict[str, tuple[int, ...]], reason: str) -> None:
    with pytest.raises(LoraError, match="LoRA style cannot be applied: ") as raised:
        read_weights("style", save(lora(tensors)))
    assert reason in str(raised.value)


def test_nan_is_refused() -> None:
    tensors = lora(PAIR)
    tensors["transformer.proj_out.lora_B.weight"][3, 1] = float("nan")
    with pytest.raises(LoraError, match=r"transformer.proj_out.lora_B.weight contains NaN"):
        read_weights("style", save(tensors))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle", save(lora(PAIR))[:-5]])
def test_a_broken_file_is_refused(content: bytes) -> None:
    with pytest.raises(LoraError, match="it is not a valid safetensors file: "):
        read_weights("style", content)


def test_the_bytes_count_a_tensor_that_several_layers_share_once() -> None:
    down = torch.ones(2, 8)
    changes = {name: LowRank(down, torch.ones(8, 2)) for name in ("q", "k", "v")}
    assert LoraWeights(changes, {}).bytes == 4 * (16 + 3 * 16)


@pytest.mark.parametrize(
    ("metadata", "alpha", "reason"),
    [
        ({}, torch.ones(2), "transformer.proj_out.alpha is not a number"),
        ({"transformer.lora_alpha": "much"}, None, "its metadata have no usable alpha"),
        ({"transformer.alpha_pattern": [1]}, None, "its metadata have no usable alpha"),
        ({"transformer.alpha_pattern": {"(": 1}}, None, "its metadata have no usable alpha"),
    ],
)
def test_an_alpha_that_is_none_is_refused(
    metadata: dict[str, object], alpha: Tensor | None, reason: str
) -> None:
    tensors = lora(PAIR) | ({} if alpha is None else {"transformer.proj_out.alpha": alpha})
    with pytest.raises(LoraError, match=reason):
        read_weights("style", save(tensors, {"lora_adapter_metadata": json.dumps(metadata)}))


WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
import torch
from models.loras.conversion import changes_of
pair = {f"transformer.proj_out.lora_{x}.weight": torch.ones(2, 2) for x in "AB"}
assert list(changes_of("style", pair, {})) == ["proj_out"]
"""


def test_a_worker_without_peft_converts_files() -> None:
    """The images have none: only tests compare with it."""
    command = [sys.executable, "-c", WITHOUT_PEFT]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
