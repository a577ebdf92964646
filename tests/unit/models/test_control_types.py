"""Which checkpoint serves which type of control, and the sentence of a refusal."""

from __future__ import annotations

import pytest

from models.control_types import MODES, refusal, served_types
from models.spec import CONTROL_NAMES


def test_every_type_is_served_by_a_real_checkpoint() -> None:
    served = {name for checkpoint in MODES for name in served_types(checkpoint)}
    assert served == set(CONTROL_NAMES)
    assert served == {*served_types("flux-dev-union-pro"), *served_types("flux-dev-union-pro-2")}


def test_union_pro_2_has_no_modes() -> None:
    assert MODES["flux-dev-union-pro-2"] == {
        "canny": None,
        "softedge": None,
        "depth": None,
        "pose": None,
        "gray": None,
    }


@pytest.mark.parametrize("checkpoint", MODES)
def test_a_served_type_is_not_refused(checkpoint: str) -> None:
    assert not any(refusal(checkpoint, control) for control in served_types(checkpoint))


def test_a_refusal_names_the_served_types_and_a_checkpoint_that_has_the_type() -> None:
    assert refusal("flux-dev-union-pro-2", "tile") == (
        "tile is not served by flux-dev-union-pro-2; "
        "allowed are canny, softedge, depth, pose, gray; flux-dev-union-pro serves tile"
    )
    for checkpoint in ("demo", "flux-dev-union-pro"):
        assert refusal(checkpoint, "softedge") == (
            f"softedge is not served by {checkpoint}; "
            "allowed are canny, tile, depth, blur, pose, gray, lq; "
            "flux-dev-union-pro-2 serves softedge"
        )
