"""The demo is made of the real classes, and the real checkpoint's description holds together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from controlnet_aux.midas import MidasDetector
from controlnet_aux.open_pose import OpenposeDetector
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from models.checkpoints import CHECKPOINTS, Checkpoint, LoadedCheckpoint, load, loader
from models.checkpoints import demo as demo_module
from models.checkpoints.checkpoint import Part
from models.checkpoints.demo import checkpoint_in
from models.checkpoints.loader import SUMS_FILE, plan_for
from models.checkpoints.revisions import revision_of
from models.control_types import MODES
from models.errors import CheckpointError
from models.memory.plans import HOST_PLAN
from models.pipeline import generate
from models.spec import CHECKPOINT_NAMES, CONTROL_NAMES, GenerationSpec
from tests.support.pictures import astronaut
from tests.support.published_layout import write_annotators

pytestmark = pytest.mark.torch

DEMO = Path(demo_module.__file__).with_name("demo_weights")


@pytest.fixture(scope="module")
def demo() -> LoadedCheckpoint:
    return load(CHECKPOINTS["demo"], torch.device("cpu"))


def test_the_demo_is_made_of_the_real_classes(demo: LoadedCheckpoint) -> None:
    pipe = demo.pipe
    assert isinstance(pipe.transformer, FluxTransformer2DModel)
    assert pipe.transformer.config.guidance_embeds
    assert isinstance(pipe.controlnet, FluxControlNetModel)
    assert pipe.controlnet.union
    assert isinstance(pipe.vae, AutoencoderKL)
    assert isinstance(pipe.text_encoder, CLIPTextModel)
    assert isinstance(pipe.text_encoder_2, T5EncoderModel)
    assert isinstance(pipe.tokenizer, CLIPTokenizer)
    assert isinstance(pipe.tokenizer_2, T5TokenizerFast)
    assert isinstance(demo.annotators.depth, MidasDetector)
    assert isinstance(demo.annotators.pose, OpenposeDetector)


def test_the_demo_is_small_enough_for_a_repository() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 24 * 1024**2
    stated = {line.split(maxsplit=1)[1] for line in (DEMO / SUMS_FILE).read_text().splitlines()}
    weights = {path.relative_to(DEMO).as_posix() for path in files if path.suffix == ".safetensors"}
    assert len(weights) == 7
    assert weights <= stated


def test_prompts_of_any_script_are_encoded(demo: LoadedCheckpoint) -> None:
    ids = [
        tuple(demo.pipe.tokenizer_2(text)["input_ids"]) for text in ("red cat", "blue cat", "red")
    ]
    assert len(set(ids)) == 3
    assert demo.pipe.tokenizer("naïve 日本 🎨")["input_ids"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The demo's weights where they may be damaged."""
    return Path(shutil.copytree(DEMO, tmp_path / "copied"))


def test_a_changed_byte_is_detected_and_its_file_named(copied: Path) -> None:
    weights = copied / "base/transformer/diffusion_pytorch_model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(CheckpointError, match="demo: base/transformer/.* is damaged"):
        load(checkpoint_in(copied), torch.device("cpu"))


@pytest.mark.parametrize("missing", ["annotators/depth.safetensors", SUMS_FILE])
def test_missing_weights_are_named(copied: Path, missing: str) -> None:
    (copied / missing).unlink()
    with pytest.raises(CheckpointError, match="demo"):
        load(checkpoint_in(copied), torch.device("cpu"))


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_checkpoint: Checkpoint
) -> dict[str, Path]:
    """A hub that holds random weights under the real repositories' names, and annotators of
    the real architectures with random weights.
    """
    annotators = tmp_path / "annotators"
    annotators.mkdir()
    write_annotators(annotators)
    folders = {
        "black-forest-labs/FLUX.1-dev": stand_in_checkpoint.base.folder,
        "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro": stand_in_checkpoint.controlnet.folder,
        "lllyasviel/Annotators": annotators,
    }

    def download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert revision or repository.startswith("Shakker-Labs")
        assert allow_patterns
        return str(folders[repository])

    monkeypatch.setattr("models.checkpoints.weights.snapshot_download", download)
    return folders


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_real_checkpoint_loads_by_the_same_path(hub: dict[str, Path]) -> None:
    real = CHECKPOINTS["flux-dev-union-pro"]
    weights = hub[real.controlnet.repository or ""] / "diffusion_pytorch_model.safetensors"
    sizes = {weights.name: weights.stat().st_size}
    real = replace(real, controlnet=replace(real.controlnet, sizes=sizes))
    loaded = load(real, torch.device("cpu"))
    for control in real.modes:
        spec = GenerationSpec(prompt="x", control=control, width=64, height=64, steps=2)
        made = generate(loaded, spec, astronaut((64, 64)), lambda _step, _steps: None)
        assert made.pictures[0].shape == (64, 64, 3)
    assert loaded.annotators.softedge is None
    commits = {name: weights.rpartition("@")[0] for name, weights in loaded.weights.items()}
    assert commits["base"] == "black-forest-labs/FLUX.1-dev"
    assert loaded.weights["annotators"] == "lllyasviel/Annotators@annotators"


def test_the_revision_of_local_weights_is_their_digest(tmp_path: Path) -> None:
    part = Part(licence="none", folder="base")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.bin").write_bytes(b"1")
    first = revision_of(part, tmp_path)
    assert first.startswith("sha256:")
    assert revision_of(part, tmp_path) == first
    (tmp_path / "a" / "x.bin").write_bytes(b"2")
    assert revision_of(part, tmp_path) != first


@pytest.mark.parametrize("name", list(CHECKPOINTS))
def test_every_checkpoint_states_licences_and_modes(name: str) -> None:
    checkpoint = CHECKPOINTS[name]
    assert set(checkpoint.modes) <= set(CONTROL_NAMES)
    assert checkpoint.modes == MODES[name]
    for part in checkpoint.parts().values():
        assert part.licence
        assert bool(part.repository) != bool(part.folder)


def test_the_checkpoints_are_those_that_settings_accept() -> None:
    assert tuple(CHECKPOINTS) == CHECKPOINT_NAMES


def test_the_union_modes_are_those_of_the_model_card() -> None:
    modes = CHECKPOINTS["flux-dev-union-pro"].modes
    assert modes == {
        "canny": 0,
        "tile": 1,
        "depth": 2,
        "blur": 3,
        "pose": 4,
        "gray": 5,
        "lq": 6,
    }


def test_the_plan_of_a_card_follows_its_free_memory_and_the_ram(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card, real = torch.device("cuda", 0), CHECKPOINTS["flux-dev-union-pro"]
    monkeypatch.setattr(loader, "native", lambda _device: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 80_000_000_000))
    free = 70_000_000_000
    assert plan_for(real, card, 64_000_000_000, "exact").name == "exact-and-8-bit"
    assert plan_for(CHECKPOINTS["demo"], card, 1, "exact") is HOST_PLAN
    assert plan_for(real, torch.device("cpu"), 1, "exact") is HOST_PLAN
    free = 12_000_000_000
    assert plan_for(real, card, 64_000_000_000, "exact").name == "8-bit-streamed"
    with pytest.raises(CheckpointError) as refused:
        plan_for(real, card, 16_000_000_000, "exact")
    assert str(refused.value).startswith(
        "checkpoint flux-dev-union-pro on cuda:0: a card with 12.0"
    )


def test_a_plan_knows_that_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    card, real = torch.device("cuda", 0), CHECKPOINTS["flux-dev-union-pro"]
    monkeypatch.setattr(loader, "native", lambda _device: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (25_000_000_000, 0))
    compiled = plan_for(real, card, 64_000_000_000, "fast").max_pixels or 0
    monkeypatch.setattr(loader, "compilation_enabled", lambda: False)
    eager = plan_for(real, card, 64_000_000_000, "fast").max_pixels or 0
    assert compiled > eager > 0
