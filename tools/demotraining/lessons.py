"""The training sets of the transformer and the ControlNet, computed once and cached in files.

A set has scenes and textures as latents, prompts as tokens, and control maps as latents. Owns the
files of the sets, one per size. Knows no transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer, T5TokenizerFast

from models.checkpoints.demo import TEXT_TOKENS
from tools.demotraining.coder import to_tensor
from tools.demotraining.maps import control_map, map_of_pixels
from tools.demotraining.painting import Pixels, paint
from tools.demotraining.scenes import Person, draw_scene
from tools.demotraining.textures import draw_texture
from tools.demotraining.tokenizers import WORDS

_CHUNK = 64
_MAPS = ("canny", "depth", "pose", "blur", "gray", "lq")
_DEGRADED = ("blur", "gray", "lq")
"""A picture has the map of one of these only: they are learnt with less."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """latents: of pictures, [N, C, h, w], float16. maps: control type -> the latents of its map for
    the pictures in `mapped`, in ascending order. clip_ids, t5_ids: [N, L]. scenes: how many of the
    N are scenes; the textures come after them. grey: the latents of plain grey, [C, 1, 1]."""

    latents: Tensor
    maps: dict[str, Tensor]
    mapped: dict[str, Tensor]
    clip_ids: Tensor
    t5_ids: Tensor
    scenes: int
    grey: Tensor

    def rows_with(self, controls: tuple[str, ...]) -> NDArray[np.int64]:
        """The pictures that have all these maps, in ascending order."""
        rows = np.arange(len(self.latents))
        for control in controls:
            if not self._is_picture(control):
                rows = np.intersect1d(rows, self.mapped[control].numpy(), assume_unique=True)
        return rows

    def map_of(self, control: str, row: int) -> Tensor:
        """The latents of a picture's map, [C, h, w]."""
        if self._is_picture(control):
            return self.latents[row]
        return self.maps[control][int(torch.searchsorted(self.mapped[control], row))]

    def _is_picture(self, control: str) -> bool:
        """A tile is the picture, unless the pictures have a style that the tiles lack."""
        return control == "tile" and control not in self.maps


@dataclass(frozen=True, slots=True)
class Order:
    """A set that is wanted: its size in pixels, how many scenes and textures, how many of the
    scenes and textures with their control maps."""

    size: tuple[int, int]
    scenes: int
    textures: int
    mapped: int

    @property
    def name(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


@dataclass(frozen=True, slots=True)
class Style:
    """recolour: a picture as it is drawn -> one in the style. describe: its prompt -> a prompt that
    names the style."""

    recolour: Callable[[Pixels], Pixels]
    describe: Callable[[str], str]


def lessons(folder: Path, order: Order, vae: AutoencoderKL, words: Words, seed: int) -> Lessons:
    """The set of `order`, from its file if it exists."""
    path = folder / f"lessons-{order.name}-{order.scenes}-{order.textures}.pt"
    if not path.exists():
        torch.save(_make(order, vae, words, seed), path)
    return Lessons(**torch.load(path, weights_only=True))


def styled_lessons(
    order: Order, vae: AutoencoderKL, words: Words, seed: int, style: Style
) -> Lessons:
    """The same pictures in a style, with the maps of the pictures as they were drawn. Every other
    prompt names the style. grey: as it is in the style."""
    return Lessons(**_make(order, vae, words, seed, style))


def draw_prompt(rng: Random) -> str:
    """A prompt of a texture, which no prompt describes: a plain one, words without an order, or
    that of a scene. So a map that shows a photograph is obeyed with any prompt."""
    kind = rng.randrange(3)
    if kind == 0:
        return rng.choice(("", "a photo", "a picture"))
    return (
        " ".join(rng.choices(WORDS, k=rng.randint(3, 14))) if kind == 1 else draw_scene(rng).prompt
    )


class Words:
    """Prompts to the token numbers of both encoders, as FLUX's pipeline pads them."""

    def __init__(self, clip: CLIPTokenizer, t5: T5TokenizerFast) -> None:
        self._clip, self._t5 = clip, t5

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        def ids(tokenizer: CLIPTokenizer | T5TokenizerFast, length: int) -> Tensor:
            padded = tokenizer(
                prompts, padding="max_length", max_length=length, truncation=True,
                return_tensors="pt",
            )  # fmt: skip
            token_ids: Tensor = padded.input_ids
            return token_ids

        return ids(self._clip, self._clip.model_max_length), ids(self._t5, TEXT_TOKENS)


def _make(
    order: Order, vae: AutoencoderKL, words: Words, seed: int, style: Style | None = None
) -> dict[str, Any]:
    latents: list[Pixels] = []
    prompts: list[str] = []
    maps: dict[str, list[Pixels]] = {name: [] for name in _MAPS}
    mapped: dict[str, list[int]] = {name: [] for name in _MAPS}
    grey = np.full((256, 256, 3), 128, np.uint8)
    if style is not None:
        grey = style.recolour(grey)
        maps["tile"], mapped["tile"] = [], []
    for index, (picture, prompt, made) in enumerate(_pictures(order, seed)):
        if style is not None:
            made["tile"], picture = picture, style.recolour(picture)
            prompt = style.describe(prompt) if index % 2 else prompt
        latents.append(picture)
        prompts.append(prompt)
        for name, drawn in made.items():
            maps[name].append(drawn)
            mapped[name].append(index)
    clip_ids, t5_ids = words(prompts)

    def coded(pictures: list[Pixels], what: str) -> Tensor:
        return _encoded(vae, pictures, f"{order.name} {what}")

    return {
        "latents": coded(latents, "pictures"),
        "maps": {name: coded(drawn, name) for name, drawn in maps.items()},
        "mapped": {name: torch.tensor(places) for name, places in mapped.items()},
        "clip_ids": clip_ids,
        "t5_ids": t5_ids,
        "scenes": order.scenes,
        "grey": coded([grey], "grey").mean((0, 2, 3))[:, None, None],
    }


def _pictures(order: Order, seed: int) -> Iterator[tuple[Pixels, str, dict[str, Pixels]]]:
    for index in tqdm(range(order.scenes), desc="scenes"):
        scene = draw_scene(Random(f"lessons {seed} {order.size} {index}"))
        painted = paint(scene, order.size)
        made = {}
        if index < order.mapped:
            wanted = ["canny", "depth", _DEGRADED[index % len(_DEGRADED)]]
            if isinstance(scene.named, Person):
                wanted.append("pose")
            made = {control: control_map(control, painted) for control in wanted}
        yield painted.picture, scene.prompt, made
    for index in tqdm(range(order.textures), desc="textures"):
        rng = np.random.default_rng((seed, *order.size, index))
        picture = draw_texture(rng, max(order.size))[: order.size[1], : order.size[0]]
        wanted = ["canny", _DEGRADED[index % len(_DEGRADED)]]
        made = {control: map_of_pixels(control, picture) for control in wanted}
        yield picture, draw_prompt(Random(f"prompt {seed} {order.size} {index}")), made


@torch.inference_mode()
def _encoded(vae: AutoencoderKL, pictures: list[Pixels], what: str) -> Tensor:
    """Latents of variance 1, float16, of the posterior's mean, as on the server."""
    made = []
    for start in tqdm(range(0, len(pictures), _CHUNK), desc=what):
        batch = torch.stack([to_tensor(one) for one in pictures[start : start + _CHUNK]])
        batch = batch.to(vae.device, memory_format=torch.channels_last)
        with torch.autocast(vae.device.type, torch.bfloat16):
            means = vae.encode(batch).latent_dist.mode().float()
        made.append(((means - vae.config.shift_factor) * vae.config.scaling_factor).half().cpu())
    return torch.cat(made)
