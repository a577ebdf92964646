"""Request bodies: that of the hosted service's page, and small ones that run fast."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tests.support.pictures import astronaut_base64, base64_of

PAGE_VALUES: dict[str, Any] = {
    "sampler": "euler",
    "scheduler": "simple",
    "seed": 652889,
    "base64": False,
    "cn_stop": 0.5,
    "cn_strength": 0.45,
    "custom_height": 1024,
    "custom_width": 1024,
    "guidance": 3.5,
    "image_format": "jpeg",
    "quality": 95,
    "samples": 1,
    "steps": 20,
    "use_input_img_dimension": True,
}


def page(cn_type: str, photograph: Image.Image | None = None, **changes: Any) -> dict[str, Any]:
    """The page's own request with all 17 values, on a real photograph of 512x512."""
    return {
        "image": base64_of(photograph) if photograph else astronaut_base64(),
        "prompt": "Portrait of an astronaut in a sunlit studio, film photograph, fine detail",
        "cn_type": cn_type,
        **PAGE_VALUES,
        **changes,
    }


def small(**changes: Any) -> dict[str, Any]:
    """A request of a fraction of a second: 128x128, the fewest steps, the cheapest control."""
    body = {"prompt": "an astronaut", "cn_type": "canny", "steps": 15}
    return {"image": astronaut_base64((128, 128)), **body, **changes}


def slow(samples: int = 1, **changes: Any) -> dict[str, Any]:
    """A request that is still running when its client has asked about it many times."""
    return small(steps=75, samples=samples, **changes)
