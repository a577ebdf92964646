"""The similarity of edges and a control map."""

from __future__ import annotations

import base64
import sys

import pytest
from PIL import Image, ImageOps

from tests.support.pictures import encoded, opened
from tools.migrationcheck.calls import CONTROL_PICTURE
from tools.migrationcheck.exchanges import Call
from tools.migrationcheck.pictures import NotMeasuredError, control_of, edge_similarity

pytestmark = pytest.mark.tools

PICTURE = CONTROL_PICTURE.read_bytes()


def test_other_colours_with_the_same_edges_are_similar() -> None:
    assert edge_similarity(PICTURE, PICTURE) == pytest.approx(1)
    assert edge_similarity(encoded(ImageOps.invert(opened(PICTURE))), PICTURE) > 0.9


def test_other_edges_are_not() -> None:
    turned = encoded(opened(PICTURE).rotate(90))
    plain = encoded(Image.new("RGB", (128, 128)))
    assert edge_similarity(turned, PICTURE) < 0.1
    assert edge_similarity(plain, PICTURE) < 0.1
    assert edge_similarity(plain, plain) == 1


def test_the_control_map_takes_the_size_of_the_picture() -> None:
    assert edge_similarity(encoded(opened(PICTURE).resize((200, 160))), PICTURE) > 0.5


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "only canny"),
        ({"cn_type": "depth"}, "only canny"),
        ({"cn_type": "canny", "image": "https://a/b.png"}, "no control picture"),
    ],
)
def test_a_call_without_a_map_says_why(body: object, reason: str) -> None:
    with pytest.raises(NotMeasuredError, match=reason):
        control_of(Call("a", "POST", "/", body))


def test_the_control_picture_is_that_of_the_call() -> None:
    body = {"cn_type": "canny", "image": base64.b64encode(PICTURE).decode()}
    assert control_of(Call("a", "POST", "/", body)) == PICTURE


def test_without_the_libraries_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(NotMeasuredError, match="not measured here: cv2 is not installed"):
        edge_similarity(PICTURE, PICTURE)
