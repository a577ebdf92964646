"""Every fault of a checkpoint's files ends the load with one line that names file and tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.checkpoints import Checkpoint, LoadedCheckpoint, load
from models.errors import CheckpointError

pytestmark = pytest.mark.torch

WEIGHTS = {
    "text_encoder": "base/text_encoder/model.safetensors",
    "text_encoder_2": "base/text_encoder_2/model.safetensors",
    "transformer": "base/transformer/diffusion_pytorch_model.safetensors",
    "vae": "base/vae/diffusion_pytorch_model.safetensors",
    "controlnet": "controlnet/diffusion_pytorch_model.safetensors",
}

each_network = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)

Change = Callable[[dict[str, Tensor], str], str]
"""(tensors of a file, name of one) -> what the error must say after the file's name."""


def missing(tensors: dict[str, Tensor], name: str) -> str:
    del tensors[name]
    return f": tensor {name} is missing"


def renamed(tensors: dict[str, Tensor], name: str) -> str:
    tensors["renamed.weight"] = tensors.pop(name)
    return f": tensor {name} is missing; tensor renamed.weight is unknown"


def extra(tensors: dict[str, Tensor], name: str) -> str:
    tensors["lora.weight"] = tensors[name].clone()
    return ": tensor lora.weight is unknown to a "


def wrong_shape(tensors: dict[str, Tensor], name: str) -> str:
    tensors[name] = torch.zeros(3, 1, 2)
    return f": tensor {name} has the shape [3, 1, 2] where ["


def eight_bits(tensors: dict[str, Tensor], name: str) -> str:
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    return f": tensor {name} is F8_E4M3; only BF16, F16 and F32 are read"


def integers(tensors: dict[str, Tensor], name: str) -> str:
    tensors[name] = tensors[name].to(torch.int8)
    return f": tensor {name} is I8; only BF16, F16 and F32 are read"


def home(checkpoint: Checkpoint) -> Path:
    assert checkpoint.base.folder is not None
    return checkpoint.base.folder.parent


def refusal(checkpoint: Checkpoint) -> str:
    with pytest.raises(CheckpointError) as refused:
        load(checkpoint, torch.device("cpu"))
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith("checkpoint stand-in cannot be loaded: ")
    return line


def change_tensors(file: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def change_json(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@each_network
@pytest.mark.parametrize(
    "change",
    [missing, renamed, extra, wrong_shape, eight_bits, integers],
    ids=lambda change: change.__name__,
)
def test_an_unfit_tensor_is_named_with_its_file(
    copied: Checkpoint, weights: str, change: Change
) -> None:
    file = home(copied) / weights
    expected = []

    def of_one(tensors: dict[str, Tensor]) -> None:
        name = next(name for name in sorted(tensors) if "norm" in name)
        expected.append(change(tensors, name))

    change_tensors(file, of_one)
    assert f"{file}{expected[0]}" in refusal(copied)


@each_network
def test_a_truncated_file_is_named_with_the_tensor_that_is_cut(
    copied: Checkpoint, weights: str
) -> None:
    file = home(copied) / weights
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for size in (0, 4, 8, header - 1):
        file.write_bytes(content[:size])
        assert f"{file}: is cut within its header, or is no safetensors file" in refusal(copied)
    for size in (header, (header + len(content)) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        line = refusal(copied)
        assert f"{file}: is cut " in line
        assert " tensor " in line
    file.write_bytes(content + b"x")
    assert f"{file}: has 1 bytes after its last tensor" in refusal(copied)


@each_network
def test_missing_weights_of_a_network_are_named(copied: Checkpoint, weights: str) -> None:
    file = home(copied) / weights
    file.unlink()
    assert str(file) in refusal(copied)


@each_network
def test_a_config_that_is_damaged_or_of_another_architecture_is_named(
    copied: Checkpoint, weights: str
) -> None:
    config = (home(copied) / weights).with_name("config.json")
    content = config.read_text()
    change_json(config, _class_name="UNet2DConditionModel", model_type="bert")
    line = refusal(copied)
    assert f"{config}: " in line
    assert "'UNet2DConditionModel' where " in line or "'bert' where " in line
    for damaged in ("{", "[]", content[: len(content) // 2], "\x00"):
        config.write_text(damaged)
        assert f"{config}: is damaged" in refusal(copied)
    config.unlink()
    assert str(config) in refusal(copied)


@pytest.mark.parametrize("network", ["transformer", "text_encoder_2"])
def test_a_config_with_values_that_do_not_fit_is_named(copied: Checkpoint, network: str) -> None:
    config = home(copied) / "base" / network / "config.json"
    change_json(config, num_layers="many")
    assert f"{config}: describes no " in refusal(copied)


def test_a_config_of_another_size_is_an_error_of_its_tensors(copied: Checkpoint) -> None:
    file = home(copied) / WEIGHTS["transformer"]
    config = file.with_name("config.json")
    change_json(config, num_layers=1)
    assert f"{file}: tensor transformer_blocks.1." in refusal(copied)
    change_json(config, num_layers=3)
    assert f"{file}: tensor transformer_blocks.2." in refusal(copied)


@pytest.mark.parametrize("file", ["model_index.json", "scheduler/scheduler_config.json"])
def test_the_small_files_of_the_base_are_checked(copied: Checkpoint, file: str) -> None:
    path = home(copied) / "base" / file
    path.write_text("{")
    assert f"{path}: is damaged" in refusal(copied)
    path.unlink()
    assert str(path) in refusal(copied)


def test_a_base_of_other_networks_is_refused(copied: Checkpoint) -> None:
    index = home(copied) / "base" / "model_index.json"
    change_json(index, text_encoder=["transformers", "CLIPTextModelWithProjection"])
    assert f"{index}: text_encoder is " in refusal(copied)


def test_shards_may_stand_in_place_of_one_file_and_each_fault_of_them_is_named(
    copied: Checkpoint,
) -> None:
    file = home(copied) / WEIGHTS["transformer"]
    index = file.with_name("diffusion_pytorch_model.safetensors.index.json")
    shards = [
        file.with_name(f"diffusion_pytorch_model-0000{n}-of-00002.safetensors") for n in (1, 2)
    ]
    tensors = load_file(file)
    halves = [dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])]
    for shard, half in zip(shards, halves, strict=True):
        save_file(half, shard, metadata={"format": "pt"})
    places = {name: shard.name for shard, half in zip(shards, halves, strict=True) for name in half}
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert f"remove {file.name} or {index.name}" in refusal(copied)
    file.unlink()
    assert_loads(load(copied, torch.device("cpu")), tensors)

    first, second = (next(iter(half)) for half in halves)
    faults: dict[str, object] = {
        f"{index}: is damaged": None,
        f"{index}: has no weight_map": {"metadata": {}},
        f"{index}: names other.safetensors, which is missing": {
            "weight_map": places | {first: "other.safetensors"}
        },
        f"{shards[1]}: tensor {second} is not in this file by": {
            "weight_map": places | {second: shards[0].name}
        },
        f"{shards[0]}: tensor absent is missing": {
            "weight_map": places | {"absent": shards[0].name}
        },
    }
    for expected, content in faults.items():
        index.write_text("{" if content is None else json.dumps(content))
        assert expected in refusal(copied)
    index.write_text(json.dumps({"weight_map": places}))
    shards[1].unlink()
    assert f"{index}: names {shards[1].name}, which is missing" in refusal(copied)


def assert_loads(loaded: LoadedCheckpoint, tensors: dict[str, Tensor]) -> None:
    state = loaded.pipe.transformer.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_of_another_precision_are_cast_and_a_loss_is_logged(
    copied: Checkpoint, caplog: pytest.LogCaptureFixture, dtype: torch.dtype
) -> None:
    file = home(copied) / WEIGHTS["transformer"]
    change_tensors(
        file, lambda tensors: tensors.update({name: t.to(dtype) for name, t in tensors.items()})
    )
    with caplog.at_level("INFO", logger="models.checkpoints.validation.tensor_check"):
        loaded = load(copied, torch.device("cpu"), torch.bfloat16)
    assert {tensor.dtype for tensor in loaded.pipe.transformer.parameters()} == {torch.bfloat16}
    lines = [line for line in caplog.messages if line.startswith(str(file.parent))]
    stored = {torch.float16: "F16", torch.float32: "F32"}.get(dtype)
    assert lines == (
        [f"{file.parent}: {stored} weights are cast to torch.bfloat16"] if stored else []
    )


def test_the_published_names_of_clip_load_as_todays(copied: Checkpoint) -> None:
    file = home(copied) / WEIGHTS["text_encoder"]
    tensors = load_file(file)
    old = {f"text_model.{name.removeprefix('text_model.')}": t for name, t in tensors.items()}
    old["text_model.embeddings.position_ids"] = torch.arange(77)[None]  # older files have it
    save_file(old, file, metadata={"format": "pt"})
    loaded = load(copied, torch.device("cpu"))
    state = loaded.pipe.text_encoder.state_dict()
    assert all(
        torch.equal(state[name.removeprefix("text_model.")], t) for name, t in tensors.items()
    )
    assert loaded.pipe.text_encoder.embeddings.position_ids.tolist() == [list(range(77))]


@pytest.mark.parametrize("name", ["shared.weight", "encoder.embed_tokens.weight"])
def test_the_tied_embedding_of_t5_may_have_either_name(copied: Checkpoint, name: str) -> None:
    file = home(copied) / WEIGHTS["text_encoder_2"]
    tensors = load_file(file)
    [stored] = tensors.keys() & {"shared.weight", "encoder.embed_tokens.weight"}
    embedding = tensors.pop(stored)
    save_file(tensors | {name: embedding}, file, metadata={"format": "pt"})
    t5 = load(copied, torch.device("cpu")).pipe.text_encoder_2
    assert torch.equal(t5.shared.weight, embedding)
    assert t5.encoder.embed_tokens.weight is t5.shared.weight
    save_file(tensors, file, metadata={"format": "pt"})
    assert f"{file}: tensor shared.weight is missing" in refusal(copied)


def test_any_error_of_a_library_is_one_line(
    copied: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {
        MemoryError(): "the host has too little free memory",
        KeyError("rope"): "KeyError: 'rope'",
        RuntimeError("first\nsecond"): "RuntimeError: first",
        torch.OutOfMemoryError("CUDA out of memory."): "the device has too little free memory",
    }
    for error, expected in errors.items():

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("models.checkpoints.loader._load_pipe", fail)
        assert expected in refusal(copied)
