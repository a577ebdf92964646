"""The JSON object of a finished picture, the same in results and in webhook messages."""

from __future__ import annotations

from typing_extensions import TypedDict

from app.core.requests.types import Output


class Picture(TypedDict):
    url: str
    content_type: str
    file_name: str
    file_size: int
    width: int
    height: int
    seed: str


def picture_body(output: Output, url: str) -> Picture:
    """url: the signed link to the file."""
    return {
        "url": url,
        "content_type": output.content_type,
        "file_name": output.file_name,
        "file_size": output.file_size,
        "width": output.width,
        "height": output.height,
        "seed": str(output.seed),
    }
