"""Names of tensors: formats that are known, kinds that are refused."""

from __future__ import annotations

import pytest

from models.loras.lora_keys import format_of, refusal_of, split_key
from tests.support.lora_files import (
    AI_TOOLKIT,
    DIFFUSERS,
    KOHYA,
    kohya_layer,
    peft_layer,
    xlabs_layer,
)

CLIP = "text_model_encoder_layers_0_mlp_fc1"
SINGLE = "diffusion_model.single_blocks.3"


@pytest.mark.parametrize(
    ("names", "format_name"),
    [
        (peft_layer(), "diffusers"),
        (
            [f"{DIFFUSERS}.lora_A.default.weight", f"{DIFFUSERS}.lora_B.default.weight"],
            "diffusers",
        ),
        ([f"{DIFFUSERS}.lora.down.weight", f"{DIFFUSERS}.lora.up.weight"], "diffusers"),
        ([*peft_layer(), f"{DIFFUSERS}.alpha"], "diffusers"),
        (
            peft_layer() | peft_layer("text_encoder.text_model.encoder.layers.0.mlp.fc1"),
            "diffusers",
        ),
        (peft_layer("base_model.model.single_blocks.1.linear1"), "diffusers"),
        (peft_layer(AI_TOOLKIT), "ai-toolkit"),
        (kohya_layer(), "kohya"),
        (kohya_layer() | kohya_layer(f"lora_te1_{CLIP}"), "kohya"),
        (kohya_layer("lora_unet_final_layer_adaLN_modulation_1"), "kohya"),
        (kohya_layer("lora_transformer_single_transformer_blocks_0_proj_out"), "kohya"),
        (kohya_layer("diffusion_model.double_blocks.0.img_mlp.0"), "kohya"),
        (
            kohya_layer(f"{SINGLE}.linear1")
            | kohya_layer("text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"),
            "kohya",
        ),
        (xlabs_layer(), "xlabs"),
        (xlabs_layer("single_blocks.2.processor.proj_lora"), "xlabs"),
        (xlabs_layer(f"{SINGLE}.processor.qkv_lora"), "xlabs"),
    ],
)
def test_the_names_of_each_trainer_are_known(names: object, format_name: str) -> None:
    assert format_of(names) == format_name
    assert refusal_of(names) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("double_blocks.0.img_attn.norm.query_norm.scale", "is a control LoRA of Black Forest"),
        (f"{KOHYA}.dora_scale", "is a DoRA"),
        (f"{DIFFUSERS}.lora_magnitude_vector.default.weight", "is a DoRA"),
        (f"{KOHYA}.lokr_w1", "is a LyCORIS network"),
        (f"{KOHYA}.hada_w1_a", "is a LyCORIS network"),
        (f"{KOHYA}.oft_blocks", "is a LyCORIS network"),
        ("diffusion_model.double_blocks.0.img_attn.qkv.diff", "holds full differences"),
        ("diffusion_model.double_blocks.0.img_attn.qkv.diff_b", "holds full differences"),
        ("diffusion_model.double_blocks.0.img_attn.norm.set_weight", "holds full differences"),
        ("lora_te2_encoder_block_0_layer_0_SelfAttention_k.lora_up.weight", "adapts the text enc"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_k.alpha", "adapts the text encoder T5"),
        ("text_encoders.t5xxl.transformer.shared.lora_up.weight", "adapts the text encoder T5"),
        ("text_encoder_2.encoder.block.0.lora_A.weight", "adapts the text encoder T5"),
        ("lora_te1_text_model_embeddings_position_embedding.alpha", "adapts an embedding or proj"),
        ("lora_te1_text_projection.lora_up.weight", "adapts an embedding or projection"),
        (f"{DIFFUSERS}.lora_B.bias", "holds biases"),
        ("transformer.norm.weight", "has a key of no known meaning: transformer.norm.weight;"),
        ("lora_unet_down_blocks_0_proj_in.lora_up.weight", "has a key of no known meaning: lora_u"),
        ("unet.mid_block.proj.lora_A.weight", "has a key of no known meaning: unet.mid_block"),
        (f"{DIFFUSERS}.to_k.alpha", f"has only alpha of the layer {DIFFUSERS}.to_k"),
        (f"{DIFFUSERS}.to_k.lora_B.weight", f"has only up of the layer {DIFFUSERS}.to_k"),
        (f"{KOHYA}.lora_up.weight", "mixes the key names of two trainers"),
    ],
)
def test_a_key_that_would_be_lost_refuses_the_file(name: str, sentence: str) -> None:
    refusal = refusal_of([*peft_layer(), name])
    assert refusal is not None
    assert refusal.startswith(sentence)
    assert "\n" not in refusal


def test_a_control_lora_has_a_format_of_its_own() -> None:
    names = ["double_blocks.0.img_attn.norm.query_norm.scale", "img_in.lora_B.bias"]
    assert format_of(names) == "bfl-control"
    assert "control type" in str(refusal_of(names))


def test_no_names_are_refused() -> None:
    assert format_of([]) == "unknown"
    assert refusal_of([]) == "holds no tensors"


def test_the_two_kinds_of_keys_under_diffusion_model_are_not_mixed() -> None:
    names = kohya_layer("diffusion_model.double_blocks.0.img_mlp.0") | peft_layer(AI_TOOLKIT)
    assert str(refusal_of(names)).startswith("mixes")


def test_the_parts_of_a_layer() -> None:
    assert split_key(f"{KOHYA}.lora_down.weight") == (KOHYA, "down")
    assert split_key(f"{DIFFUSERS}.lora_B.default.weight") == (DIFFUSERS, "up")
    assert split_key(f"{DIFFUSERS}.alpha") == (DIFFUSERS, "alpha")
    assert split_key("double_blocks.0.processor.proj_lora2.up.weight") == (
        "double_blocks.0.processor.proj_lora2",
        "up",
    )
    assert split_key("alpha") is None
    assert split_key(f"{DIFFUSERS}.weight") is None
