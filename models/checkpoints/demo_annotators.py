"""The demo's depth and pose networks for controlnet_aux's detector classes.

Small convolutional networks replace MiDaS and OpenPose, which have hundreds of megabytes. Knows
neither their training nor their files.
"""

from __future__ import annotations

import torch
from controlnet_aux.open_pose.body import Body
from torch import Tensor, nn
from torch.nn import functional

LIMB_FIELDS, JOINT_MAPS = 38, 19
"""Output channels of OpenPose's body network: two per limb of 19; 18 joints and the background."""


class DepthNet(nn.Module):
    """Replaces MiDaS: [B, 3, H, W] in -1..1 -> [B, H, W], near is large.

    It works at half of the input's size, because the detector doubles the demo's 256 pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 48, 64)
        self.down = nn.ModuleList(
            _convolution(before, after, stride=2)
            for before, after in zip((3, *widths[:-1]), widths, strict=True)
        )
        self.middle = nn.Sequential(*(_Residual(widths[-1], dilation) for dilation in (1, 2, 1)))
        self.up = nn.ModuleList(
            _convolution(low + high, high)
            for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.depth = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        states = [functional.avg_pool2d(picture, 2)]
        for block in self.down:
            states.append(block(states[-1]))
        deep = self.middle(states.pop())
        for block in self.up:
            high = states.pop()
            deep = functional.interpolate(deep, size=high.shape[-2:], mode="bilinear")
            deep = block(torch.cat((deep, high), dim=1))
        depth = functional.interpolate(
            self.depth(deep), size=picture.shape[-2:], mode="bilinear", align_corners=False
        )
        return depth[:, 0]


class BodyPoseNet(nn.Module):
    """Replaces OpenPose's body network: [B, 3, H, W], BGR in -0.5..0.5 ->
    ([B, 38, H/8, W/8] limb fields, [B, 19, H/8, W/8] joint heat maps)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 72)
        self.down = nn.Sequential(
            *(
                _convolution(before, after, stride=2)
                for before, after in zip((3, *widths[:-1]), widths, strict=True)
            )
        )
        self.body = nn.Sequential(
            *(_Residual(widths[-1], dilation) for dilation in (1, 2, 4, 2, 1))
        )
        self.limbs = nn.Conv2d(widths[-1], LIMB_FIELDS, 3, padding=1)
        self.joints = nn.Conv2d(widths[-1], JOINT_MAPS, 3, padding=1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(self.down(picture))
        return self.limbs(features), self.joints(features)


class DemoBody(Body):  # type: ignore[misc]  # controlnet_aux ships no types
    """controlnet_aux's pose estimator around BodyPoseNet."""

    def __init__(self, model: BodyPoseNet) -> None:
        self.model = model


class _Residual(nn.Module):
    """Two convolutions with a residual connection; the first one is dilated by `dilation`."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _convolution(width, width, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(self.first(x))
        return x + added


def _convolution(before: int, after: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=dilation, dilation=dilation, bias=False),
        nn.GroupNorm(1, after),  # smaller groups would remove the picture's brightness
        nn.SiLU(),
    )
