"""The metrics of control: one number each for canny, depth, pose, tile, other maps, a named colour,
and the style of the demo's LoRA.

Plain functions of pixels, maps and joints; knows no model and no scene. More is better everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tools.demotraining.colours import name_of
from tools.demotraining.lora.style import cyanotype

EDGE_TOLERANCE = 2
JOINT_TOLERANCE = 8.0
TILE_FACTOR = 4

Pixels = NDArray[np.uint8]


def edge_f1(edges: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """F1 of edge pixels: one counts as right where the other map has one within 2 pixels."""
    if not edges.any() or not wanted.any():
        return float(edges.any() == wanted.any())
    precision = (edges & _thickened(wanted)).sum() / edges.sum()
    recall = (wanted & _thickened(edges)).sum() / wanted.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _thickened(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    side = 2 * EDGE_TOLERANCE + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    thickened: NDArray[np.bool_] = cv2.dilate(edges.astype(np.uint8), disc) > 0
    return thickened


def rank_correlation(depth: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """Spearman's correlation over all pixels, ties sharing their rank; 0 where one map is flat."""
    if depth.min() == depth.max() or wanted.min() == wanted.max():
        return 0.0
    ranks = rankdata(depth.ravel()), rankdata(wanted.ravel())
    return float(np.corrcoef(*ranks)[0, 1])


def joints_met(
    people: list[NDArray[np.float64]], wanted: NDArray[np.floating], size: tuple[int, int]
) -> float:
    """The share of the wanted joints [18, 2] inside the picture that some person found in it has
    within 8 pixels. `people`: [18, 2] each in pixels, NaN where a joint was not seen."""
    inside = ((wanted >= 0) & (wanted < size)).all(axis=1)
    met = np.zeros(len(wanted), bool)
    for person in people:
        with np.errstate(invalid="ignore"):
            met |= np.hypot(*(person - wanted).T) <= JOINT_TOLERANCE
    return float(met[inside].mean())


def tile_psnr(picture: Pixels, wanted: Pixels) -> float:
    """PSNR in dB of the picture against the wanted one, both averaged down by 4."""
    size = picture.shape[1] // TILE_FACTOR, picture.shape[0] // TILE_FACTOR

    def small(pixels: Pixels) -> NDArray[np.float64]:
        averaged: NDArray[np.float64] = cv2.resize(
            pixels.astype(np.float64), size, interpolation=cv2.INTER_AREA
        )
        return averaged

    return psnr(small(picture), small(wanted))


def psnr(picture: NDArray[np.generic], wanted: NDArray[np.generic]) -> float:
    """In dB, of levels 0..255."""
    error = float(((picture.astype(np.float64) - wanted.astype(np.float64)) ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def colour_right(picture: Pixels, named: NDArray[np.bool_], colour: str) -> float:
    """1 where the middle colour of the pixels that the named thing covers has the name, else 0."""
    return float(name_of(np.median(picture[named], axis=0)) == colour)


def cyanotype_psnr(picture: Pixels) -> float:
    """PSNR in dB of the picture against its own cyanotype: how near its colours are to the palette
    of the demo's LoRA."""
    return psnr(picture, cyanotype(picture))
