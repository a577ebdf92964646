"""The serialised form of a finished picture."""

from __future__ import annotations

from app.core.requests.outputs import picture_body
from app.core.requests.types import Output

OUTPUT = Output(
    file_name="0.png",
    content_type="image/png",
    file_size=123,
    width=64,
    height=48,
    seed=2**53 + 1,
    sha256="a",
    pixels_sha256="b",
)


def test_an_output_is_serialised_without_internal_fields() -> None:
    """Its seed is a text: readers of JSON may round large numbers."""
    assert picture_body(OUTPUT, "https://a.example/0.png") == {
        "url": "https://a.example/0.png",
        "content_type": "image/png",
        "file_name": "0.png",
        "file_size": 123,
        "width": 64,
        "height": 48,
        "seed": "9007199254740993",
    }
