"""Which annotators a checkpoint gets by the settings, and what receipts and plans say of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from controlnet_aux.open_pose import OpenposeDetector
from huggingface_hub import constants
from PIL import Image

from models.annotators.people import PeopleFallback
from models.checkpoints import CHECKPOINTS, Checkpoint, load
from models.checkpoints.annotators import CHOICES, with_annotators
from models.checkpoints.annotators.blazepose import BLAZEPOSE
from models.checkpoints.annotators.dwpose import DWPOSE
from models.checkpoints.footprint import footprint
from models.control_types import DEPTH_ANNOTATORS, POSE_ANNOTATORS
from models.controls import pose
from models.errors import CheckpointError
from models.pipeline import make_control_map
from tests.support.blazepose_weights import blazepose_home
from tests.support.dwpose_networks import boxes_output, points_outputs, write_dwpose
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch

REAL, DEMO = CHECKPOINTS["flux-dev-union-pro"], CHECKPOINTS["demo"]
OWN = DEPTH_ANNOTATORS[0], POSE_ANNOTATORS[0]


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))


def test_the_choices_are_those_of_the_settings() -> None:
    assert set(CHOICES) == {*DEPTH_ANNOTATORS[1:], *POSE_ANNOTATORS[1:]}
    for annotator in CHOICES.values():
        assert annotator.part.licence.endswith(": Apache-2.0")


@pytest.mark.usefixtures("no_weights")
def test_the_defaults_are_the_checkpoints_own() -> None:
    for checkpoint in CHECKPOINTS.values():
        assert with_annotators(checkpoint, *OWN) == checkpoint
        assert set(checkpoint.parts()) == {"base", "controlnet", "annotators"}
    both = REAL.parts()["annotators"]
    assert both.licence == "MiDaS: MIT; OpenPose: academic and non-commercial use"
    assert both.files == ("dpt_hybrid-midas-501f0c75.pt", "body_pose_model.pth")


def test_a_chosen_annotator_replaces_the_files_of_the_own_one() -> None:
    parts = with_annotators(REAL, OWN[0], "dwpose").parts()
    assert parts["annotators"].licence == "MiDaS: MIT"
    assert parts["annotators"].files == ("dpt_hybrid-midas-501f0c75.pt",)
    assert parts["pose_annotator"].repository == "yzd-v/DWPose"
    parts = with_annotators(REAL, "depth-anything-v2-small", "blazepose").parts()
    assert set(parts) == {"base", "controlnet", "depth_annotator", "pose_annotator"}
    assert all("non-commercial" not in parts[role].licence for role in parts if "annot" in role)


def test_the_footprint_counts_the_annotators_on_the_card() -> None:
    own, chosen = footprint(REAL), footprint(with_annotators(REAL, DEPTH_ANNOTATORS[1], "dwpose"))
    assert own is not None
    assert chosen is not None
    assert own.rest - chosen.rest == 492_757_791 + 209_267_595 - 99_173_660
    assert replace(chosen, rest=own.rest) == own


def test_a_chosen_annotator_makes_the_maps_and_is_in_the_receipt(
    stand_in_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    places = np.stack([np.linspace(20, 260, 133), np.linspace(370, 20, 133)], axis=1).round()
    boxes = boxes_output((320, 320, 300, 400, 0, 0.9))
    write_dwpose(tmp_path, boxes, points_outputs(places, np.ones(133)))
    local = replace(DWPOSE, part=replace(DWPOSE.part, repository=None, folder=tmp_path))
    served = replace(
        stand_in_checkpoint, annotators={**stand_in_checkpoint.annotators, "pose": local}
    )
    loaded = load(served, torch.device("cpu"))
    assert loaded.weights.keys() == {"base", "controlnet", "annotators", "pose_annotator"}
    control_map = make_control_map(loaded, "pose", astronaut((128, 128)))
    direct = pose.make(astronaut((128, 128)), (128, 128), DWPOSE.load(tmp_path))
    assert control_map.tobytes() == direct.tobytes()
    assert pose.has_people(control_map)


@pytest.mark.usefixtures("no_weights")
def test_a_missing_wheel_is_not_downloaded_by_a_worker() -> None:
    served = with_annotators(DEMO, OWN[0], "blazepose")
    with pytest.raises(CheckpointError, match="models download") as refused:
        load(served, torch.device("cpu"))
    assert "\n" not in str(refused.value)


def test_the_demo_finds_the_person_of_a_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own detector knows the drawn people that it was trained on."""
    monkeypatch.setattr(constants, "HF_HOME", str(blazepose_home()))
    served = with_annotators(DEMO, *OWN)
    assert served.pose_fallback is not None
    loaded = load(served, torch.device("cpu"))
    assert isinstance(loaded.annotators.pose, PeopleFallback)
    own = loaded.annotators.pose.first
    assert isinstance(own, OpenposeDetector)
    buffer = io.BytesIO()
    astronaut().save(buffer, "JPEG")
    photograph = Image.open(buffer).convert("RGB")
    assert not pose.has_people(pose.make(photograph, (256, 256), own))
    assert pose.has_people(make_control_map(loaded, "pose", photograph))
    revision = loaded.weights["pose_fallback"]
    assert BLAZEPOSE.part.wheel is not None
    assert revision == f"mediapipe==0.10.14@sha256:{BLAZEPOSE.part.wheel.sha256}"
    chosen = with_annotators(DEMO, OWN[0], "blazepose")
    assert chosen.pose_fallback is None
    assert chosen.annotators["pose"] is BLAZEPOSE
