"""Which checkpoint serves which type of control."""

from __future__ import annotations

from models.control_types import MODES, served_types
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
