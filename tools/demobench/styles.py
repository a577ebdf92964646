"""Measures and draws the style of the demo's LoRA at several scales, on held-out scenes.

Owns the table and the sheet. Knows no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.loras.lora_file import LoraFile, read_lora_file
from models.loras.lora_options import LoraOptions
from models.spec import Lora
from tools.demobench.measuring import Row
from tools.demobench.metrics import cyanotype_psnr
from tools.demobench.obedience import CONTROLS, Case, Result, held_out, judge, make
from tools.demobench.sheets import save, shown_case, titled

MEASURED_SCALES = (-1.0, 0.0, 0.5, 1.0)
SHOWN_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
STRENGTH = 0.8

_SIDE = 144
"""Pixels of a picture on the sheet."""


def demo_with(path: Path) -> tuple[LoadedCheckpoint, LoraFile]:
    """The demo with a folder of LoRAs, and the file of it that is at `path`."""
    demo = load(CHECKPOINTS["demo"], torch.device("cpu"), loras=LoraOptions(path.parent))
    return demo, read_lora_file(path)


def measure_style(
    loaded: LoadedCheckpoint,
    file: LoraFile,
    control: str,
    scenes: int,
    scales: Sequence[float] = MEASURED_SCALES,
) -> Row:
    """Means over held-out scenes of a control type at each scale: the style in dB, and the
    control's own metric."""
    cases = list(held_out(control, scenes))
    obeys = judge(loaded, control)
    style, obedience = {}, {}
    for scale in scales:
        results = [_make(loaded, file, control, case, scale) for case in cases]
        style[f"style {scale:g}"] = float(np.mean([cyanotype_psnr(one.picture) for one in results]))
        obedience[f"control {scale:g}"] = float(np.mean([obeys(one, one) for one in results]))
    return style | obedience


def draw_style(loaded: LoadedCheckpoint, file: LoraFile, path: Path) -> None:
    """Rows: the control types. Columns: the input, and the outputs at each scale."""
    rows = []
    for control in CONTROLS:
        case = shown_case(control)
        results = [_make(loaded, file, control, case, scale) for scale in SHOWN_SCALES]
        pictures = [case.painted.picture, *(one.picture for one in results)]
        smaller = [
            cv2.resize(one, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for one in pictures
        ]
        rows.append(titled(smaller, [control, *(f"scale {scale:g}" for scale in SHOWN_SCALES)]))
    save([list(column) for column in zip(*rows, strict=True)], path)


def _make(
    loaded: LoadedCheckpoint, file: LoraFile, control: str, case: Case, scale: float
) -> Result:
    lora = Lora(file.name, scale, file.sha256)
    return make(loaded, control, case, STRENGTH, loras=(lora,))
