"""The control types that a stage learns: how often each one and each combination occurs, at which
strengths, for how many textures. Knows no pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Controls = tuple[str, ...]
"""The types of a picture's control maps; none of them: a picture without a map."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """shares: of the controls in a batch; they add up to 1. textures: the share of textures
    (pictures without a scene) among the pictures with these controls. strengths: least and most.
    moved: the share of batches whose tokens have the positions of a part of a larger picture.
    """

    shares: Mapping[Controls, float]
    textures: Mapping[Controls, float]
    strengths: tuple[float, float] = (1.0, 1.0)
    moved: float = 0.0

    def draw(self, rng: np.random.Generator, count: int) -> list[Controls]:
        """The controls of a batch: either at most one map for each picture or several for each,
        because the ControlNet runs for the whole batch once for each map."""
        several = rng.random() < sum(share for one, share in self.shares.items() if len(one) > 1)
        chosen = {one: share for one, share in self.shares.items() if (len(one) > 1) == several}
        odds = np.array(list(chosen.values()))
        return [
            list(chosen)[index] for index in rng.choice(len(chosen), count, p=odds / odds.sum())
        ]


TEXTURES: Mapping[Controls, float] = {(): 0.08, ("tile",): 0.5, ("canny",): 0.25}

FLOW = Mixture({(): 0.35, ("canny",): 0.25, ("depth",): 0.2, ("pose",): 0.2}, TEXTURES)

CONTROL = Mixture({("canny",): 0.35, ("depth",): 0.25, ("pose",): 0.25, ("tile",): 0.15}, TEXTURES)

REFINEMENT = Mixture(
    {
        (): 0.2,
        ("canny",): 0.16,
        ("depth",): 0.11,
        ("pose",): 0.1,
        ("tile",): 0.14,
        ("blur",): 0.05,
        ("gray",): 0.05,
        ("lq",): 0.05,
        ("canny", "pose"): 0.05,
        ("tile", "depth"): 0.04,
        ("canny", "depth"): 0.02,
        ("depth", "pose"): 0.02,
        ("canny", "blur"): 0.01,
    },
    # After the end of a control window the transformer alone finishes a photograph.
    {
        (): 0.5,
        ("tile",): 0.5,
        ("canny",): 0.45,
        ("blur",): 0.5,
        ("gray",): 0.5,
        ("lq",): 0.5,
        ("canny", "blur"): 0.5,
    },
    strengths=(0.35, 1.15),
    moved=0.25,
)
