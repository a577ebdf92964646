"""Runs the five stages of the training in order, each with its data, size and share of the time.

The networks of a stage go to the next one. Owns no mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel

from models.checkpoints.demo_annotators import BodyPoseNet, DepthNet
from models.control_types import UNION_MODES
from tools.demotraining import networks, refinement
from tools.demotraining.annotators import DepthLoss, PoseLoss, draw_lessons
from tools.demotraining.batches import Batches, Phase
from tools.demotraining.coder import CoderLoss, coder_sheet, draw_pool, set_latent_scale
from tools.demotraining.control import ControlLoss
from tools.demotraining.flow import Flow, FlowLoss
from tools.demotraining.lessons import Lessons, Order, Words, lessons
from tools.demotraining.mixtures import CONTROL, FLOW, REFINEMENT, Mixture
from tools.demotraining.previews import control_sheet, flow_sheet, refined_sheet
from tools.demotraining.refinement import Refined
from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer
from tools.demotraining.training import Plan, draw_curves, losses_in, train

SHARES = {
    "coder": 0.08,
    "pose": 0.03,
    "depth": 0.03,
    "flow": 0.26,
    "control": 0.27,
    "refinement": 0.33,
}
"""The share of the whole budget, per stage."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much data: pictures for the autoencoder, scenes for the annotators, sets for the rest;
    and which sets the transformer and the ControlNet learn from, when; the same of the refinement.
    """

    pool: tuple[int, int]
    annotated: int
    orders: tuple[Order, ...]
    phases: tuple[Phase, ...]
    refinement_orders: tuple[Order, ...] = refinement.ORDERS
    refinement_phases: tuple[Phase, ...] = refinement.PHASES


FULL = Scale(
    pool=(400, 250),
    annotated=3000,
    orders=(
        Order((128, 128), scenes=16000, textures=800, mapped=16000),
        Order((256, 256), scenes=2400, textures=240, mapped=2400),
        Order((384, 256), scenes=60, textures=8, mapped=60),
        Order((512, 512), scenes=48, textures=8, mapped=48),
    ),
    # Small pictures are four times cheaper; things and words are learnt there.
    phases=(
        Phase(0.45, (("128x128", 32, 1.0),)),
        Phase(0.85, (("128x128", 32, 0.3), ("256x256", 12, 0.65), ("512x512", 3, 0.05))),
        Phase(1.0, (("256x256", 12, 0.7), ("384x256", 8, 0.1), ("512x512", 3, 0.2))),
    ),
)


@dataclass(frozen=True, slots=True)
class Run:
    """Where the state of a training lives, its seed, its budget, its scale."""

    folder: Path
    seed: int
    minutes: float
    device: torch.device
    scale: Scale

    def plan(self, name: str, lr: float) -> Plan:
        """A stage that later ones were built on stays as it is, whatever the budget is now."""
        later = list(SHARES)[list(SHARES).index(name) + 1 :]
        finished = self._begun(name) and any(self._begun(one) for one in later)
        return Plan(name, 0.0 if finished else self.minutes * SHARES[name], lr, self.seed)

    def _begun(self, name: str) -> bool:
        return (self.folder / f"{name}.pt").exists()


@dataclass(frozen=True, slots=True)
class Trained:
    """The trained networks of all stages."""

    vae: AutoencoderKL
    depth: DepthNet
    pose: BodyPoseNet
    flow: Flow
    controlnet: FluxControlNetModel

    @property
    def transformer(self) -> FluxTransformer2DModel:
        return self.flow.transformer


def train_all(run: Run) -> Trained:
    """Run every stage in order; each resumes from its file."""
    vae = train_coder(run)
    depth, pose = train_depth(run), train_pose(run)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    words = Words(clip, t5)
    sets = _sets(run, run.scale.orders, vae, words)

    def batches(mixture: Mixture) -> Batches:
        return Batches(sets, run.scale.phases, mixture, words([""]), run.device)

    torch.manual_seed(run.seed)
    flow = Flow(networks.transformer(), networks.text_encoders(clip, t5)).to(run.device)
    loss = FlowLoss(flow, batches(FLOW))
    flow = train(run.plan("flow", 3e-3), flow, loss, run.folder, flow_sheet(vae, words))
    torch.manual_seed(run.seed)
    controlnet = networks.controlnet(flow.transformer, len(UNION_MODES)).to(run.device)
    controlled = ControlLoss(controlnet, flow.requires_grad_(False), batches(CONTROL))
    sheet = control_sheet(vae, words, flow)
    controlnet = train(run.plan("control", 2e-3), controlnet, controlled, run.folder, sheet)
    trained = refine(run, Trained(vae, depth, pose, flow, controlnet))
    draw_curves({name: losses_in(run.folder, name) for name in SHARES}, run.folder / "losses.png")
    return trained


def refine(run: Run, trained: Trained, share: float = SHARES["refinement"]) -> Trained:
    """Stage 5, from the networks of stage 4 or of an earlier training. share: of the budget."""
    words = Words(clip_tokenizer(), t5_tokenizer())
    sets = _sets(run, run.scale.refinement_orders, trained.vae, words)
    batches = Batches(sets, run.scale.refinement_phases, REFINEMENT, words([""]), run.device)
    refined = Refined(trained.flow, trained.controlnet)
    loss = ControlLoss(refined.controlnet, refined.flow, batches)
    plan = Plan("refinement", run.minutes * share, 1.5e-3, run.seed)
    refined = train(plan, refined, loss, run.folder, refined_sheet(trained.vae, words))
    return replace(trained, flow=refined.flow, controlnet=refined.controlnet)


def train_coder(run: Run) -> AutoencoderKL:
    """Stage 1; afterwards its latents have mean 0 and variance 1."""
    pool = draw_pool(run.seed, *run.scale.pool)
    torch.manual_seed(run.seed)
    vae = networks.autoencoder().to(run.device, memory_format=torch.channels_last)
    coder = train(run.plan("coder", 2e-3), vae, CoderLoss(vae, pool), run.folder, coder_sheet(pool))
    coder.eval()
    set_latent_scale(coder, pool[:: max(1, len(pool) // 64)])
    return coder


def train_depth(run: Run) -> DepthNet:
    """Stage 2, first half."""
    torch.manual_seed(run.seed)
    network = DepthNet().to(run.device).to(memory_format=torch.channels_last)
    plan = run.plan("depth", 2e-3)
    lessons = draw_lessons(run.seed, run.scale.annotated, None) if plan.minutes else []
    return train(plan, network, DepthLoss(network, lessons), run.folder)


def train_pose(run: Run) -> BodyPoseNet:
    """Stage 2, second half; one scene in eleven has no person."""
    torch.manual_seed(run.seed)
    network = BodyPoseNet().to(run.device).to(memory_format=torch.channels_last)
    plan = run.plan("pose", 2e-3)
    lessons = draw_lessons(run.seed, run.scale.annotated, True) if plan.minutes else []
    lessons += draw_lessons(run.seed, run.scale.annotated // 10, False) if plan.minutes else []
    return train(plan, network, PoseLoss(network, lessons), run.folder)


def _sets(
    run: Run, orders: tuple[Order, ...], vae: AutoencoderKL, words: Words
) -> dict[str, Lessons]:
    return {order.name: lessons(run.folder, order, vae, words, run.seed) for order in orders}
