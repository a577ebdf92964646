"""The classifier of the content filter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from models.classifier import Classifier
from models.errors import CheckpointError
from tests.support import classifiers

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifiers.build(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(autouse=True)
def _as_many_threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_score_is_the_probability_of_the_label(folder: Path) -> None:
    nsfw, safe = (Classifier(str(folder), [label]) for label in ("nsfw", "safe"))
    for colour, expected in (("white", 1.0), ("black", 0.0)):
        picture = Image.new("RGB", (100, 60), colour)
        assert nsfw.score(picture) == pytest.approx(expected, abs=0.01)
        assert nsfw.score(picture) + safe.score(picture) == pytest.approx(1)


def test_the_score_is_that_of_the_likeliest_of_several_labels(folder: Path) -> None:
    both = Classifier(str(folder), ["nsfw", "safe"])
    assert both.score(Image.new("RGB", (32, 32), "black")) == pytest.approx(1, abs=0.01)


def test_an_unknown_label_of_a_classifier_is_an_error(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"labels safe, nsfw and not \['gore'\]"):
        Classifier(str(folder), ["nsfw", "gore"])


def test_a_missing_classifier_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Classifier(str(tmp_path / "nothing"), ["nsfw"])


@pytest.mark.parametrize("fault", ["missing", "shape", "cut", "config"])
def test_a_damaged_classifier_is_an_error_of_one_line(
    folder: Path, tmp_path: Path, fault: str
) -> None:
    """The library itself would go on with random weights, that is, with any verdict."""
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    file = copied / "model.safetensors"
    tensors = load_file(file)
    if fault == "missing":
        del tensors["classifier.1.weight"]
    else:
        tensors["classifier.1.weight"] = torch.zeros(2, 3)
    save_file(tensors, file, metadata={"format": "pt"})
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    if fault == "config":
        (copied / "config.json").write_text("{")
    with pytest.raises(CheckpointError) as refused:
        Classifier(str(copied), ["nsfw"])
    line = str(refused.value)
    assert line.startswith(f"classifier {copied} cannot be loaded: ")
    assert "\n" not in line
    if fault in ("missing", "shape"):
        assert line.endswith(": tensor classifier.1.weight is missing or has another shape")
