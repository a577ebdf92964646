"""The training of the demo's LoRA: side paths of the transformer, everything else frozen.

Pictures in the style, and control maps of the same pictures as they were drawn: so the style holds
against a tile that shows other colours. The loss is that of the refinement. Step n draws everything
from (seed, n), and the number of steps is fixed: a repeated run gives the same file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tools.demotraining.batches import Batches, Phase
from tools.demotraining.control import ControlLoss
from tools.demotraining.lessons import Order, Style, Words, styled_lessons
from tools.demotraining.lora.side_paths import SidePaths, new_side_paths
from tools.demotraining.lora.style import cyanotype, with_trigger
from tools.demotraining.mixtures import REFINEMENT
from tools.demotraining.stages import Trained
from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer

ORDERS = (
    Order((128, 128), scenes=720, textures=150, mapped=720),
    Order((256, 256), scenes=150, textures=60, mapped=150),
)
PHASE = Phase(1.0, (("128x128", 20, 0.75), ("256x256", 6, 0.25)))


@dataclass(frozen=True, slots=True)
class Course:
    """What a LoRA is trained with. orders, phase: the pictures and the batches of them. lr: peak
    rate of AdamW, reached after a warm-up and left along a cosine."""

    steps: int
    seed: int
    rank: int = 8
    lr: float = 4e-3
    orders: tuple[Order, ...] = ORDERS
    phase: Phase = PHASE


def train_lora(
    course: Course, trained: Trained, on_step: Callable[[int, float], None]
) -> SidePaths:
    """The side paths of the style for the transformer of `trained`, whose networks are frozen.

    on_step: called with the number of steps done and the loss of the last one.
    """
    for network in (trained.vae, trained.flow, trained.controlnet):
        network.requires_grad_(False)
    words = Words(clip_tokenizer(), t5_tokenizer())
    style = Style(cyanotype, with_trigger)
    sets = {
        order.name: styled_lessons(order, trained.vae, words, course.seed, style)
        for order in course.orders
    }
    device = trained.transformer.device
    batches = Batches(sets, (course.phase,), REFINEMENT, words([""]), device)
    loss = ControlLoss(trained.controlnet, trained.flow, batches)
    torch.manual_seed(course.seed)
    paths = new_side_paths(trained.transformer, course.rank).to(device)
    optimizer = torch.optim.AdamW(paths.parameters(), course.lr, (0.9, 0.98), weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, course.lr, total_steps=course.steps, pct_start=0.05, cycle_momentum=False
    )
    with paths.applied(trained.transformer):
        for step in range(course.steps):
            torch.manual_seed(course.seed * 1_000_003 + step)
            value = loss(np.random.default_rng((course.seed, step)), step / course.steps)
            value.backward()
            torch.nn.utils.clip_grad_norm_(paths.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            rates.step()
            on_step(step + 1, float(value.detach()))
    return paths.requires_grad_(False)
