"""A tiny image classifier, made here: white is `nsfw`, black is `safe`."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

SIDE = 32


def build(folder: Path) -> Path:
    """A real model of transformers whose last layer is set between what it sees in white and in
    black."""
    processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label={0: "safe", 1: "nsfw"},
        label2id={"safe": 0, "nsfw": 1},
    )
    torch.manual_seed(0)
    model = ResNetForImageClassification(config).eval()
    with torch.no_grad():
        black, white = (
            model.resnet(
                **processor(Image.new("RGB", (SIDE, SIDE), colour), return_tensors="pt")
            ).pooler_output.flatten()
            for colour in ("black", "white")
        )
        direction = (white - black) / (white - black).norm() ** 2 * 20
        last = model.classifier[-1]
        last.weight.zero_()
        last.bias.zero_()
        last.weight[1] = direction
        last.bias[1] = -direction @ (white + black) / 2
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
