"""What all detectors of people share: from the people of a picture to its pose map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.annotators.skeleton import Person, draw
from models.controls import Detector


class PeopleDetector(ABC):
    """Follows models.controls.Detector, on the CPU: its libraries have no other device here."""

    @abstractmethod
    def people(self, picture: NDArray[np.uint8]) -> Sequence[Person]:
        """The people in an RGB picture, [height, width, 3]."""

    def __call__(
        self,
        input_image: NDArray[np.uint8],
        *,
        image_resolution: int,
        **_options: object,
    ) -> NDArray[np.uint8]:
        """People are found in the picture's own pixels. The short side of the map has
        `image_resolution` pixels, because the width of lines is fixed."""
        height, width = input_image.shape[:2]
        scale = image_resolution / min(height, width)
        people = self.people(np.ascontiguousarray(input_image))
        return draw(people, round(width * scale), round(height * scale))

    def to(self, device: torch.device) -> None:
        """Has no effect."""
        del device


class PeopleFallback:
    """Follows models.controls.Detector: asks `second` where `first` finds no person."""

    def __init__(self, first: Detector, second: Detector) -> None:
        self.first, self.second = first, second

    def __call__(self, input_image: NDArray[np.uint8], **options: Any) -> NDArray[np.uint8]:
        for detector in (self.first, self.second):
            control_map = detector(input_image, **options)
            if control_map.any():
                break
        return control_map

    def to(self, device: torch.device) -> None:
        self.first.to(device)
        self.second.to(device)
