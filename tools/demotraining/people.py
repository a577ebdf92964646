"""People made of limbs: 18 joints in OpenPose's order, and the limbs that a painter fills.

Everything is in units of a person's height around the middle of the hips; knows no pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from random import Random

Point = tuple[float, float]

JOINTS = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle "
    "right_eye left_eye right_ear left_ear"
).split()
"""OpenPose's 18 body joints (Cao et al., arXiv 1812.08008), in its order."""

HEAD_RADIUS = 0.085


@dataclass(frozen=True, slots=True)
class Stance:
    """The angles of a body in degrees: lean of the trunk, and for the right and left side the
    angles of upper and lower limbs from hanging straight down, outwards positive."""

    lean: float
    arms: tuple[float, float]
    elbows: tuple[float, float]
    legs: tuple[float, float]
    knees: tuple[float, float]


def draw_stance(rng: Random) -> Stance:
    """A random stance, upright enough to be recognisable."""
    return Stance(
        lean=rng.uniform(-14, 14),
        arms=(rng.uniform(12, 160), rng.uniform(12, 160)),
        elbows=(rng.uniform(-60, 80), rng.uniform(-60, 80)),
        legs=(rng.uniform(2, 40), rng.uniform(2, 40)),
        knees=(rng.uniform(-45, 15), rng.uniform(-45, 15)),
    )


def joints_of(stance: Stance) -> list[Point]:
    """Where the 18 joints are, x to the right and y down. People face the viewer, so their right
    side is on the left of the picture."""
    tilt = radians(stance.lean)

    def above_hips(x: float, y: float) -> Point:
        return x * cos(tilt) - y * sin(tilt), x * sin(tilt) + y * cos(tilt)

    def hang(start: Point, side: int, angle: float, length: float) -> Point:
        turned = radians(angle)
        return start[0] + side * length * sin(turned), start[1] + length * cos(turned)

    neck = above_hips(0, -0.30)
    limbs: dict[str, Point] = {"neck": neck}
    for side, name, index in ((-1, "right", 0), (1, "left", 1)):
        shoulder = above_hips(side * 0.10, -0.29)
        elbow = hang(shoulder, side, stance.arms[index], 0.16)
        wrist = hang(elbow, side, stance.arms[index] + stance.elbows[index], 0.15)
        hip = above_hips(side * 0.055, 0)
        knee = hang(hip, side, stance.legs[index], 0.22)
        ankle = hang(knee, side, stance.legs[index] + stance.knees[index], 0.21)
        limbs |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_wrist": wrist}
        limbs |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle}
        limbs[f"{name}_eye"] = above_hips(side * 0.032, -0.435)
        limbs[f"{name}_ear"] = above_hips(side * 0.078, -0.420)
    limbs["nose"] = above_hips(0, -0.415)
    return [limbs[name] for name in JOINTS]


def head_of(stance: Stance) -> Point:
    """The middle of the head."""
    tilt = radians(stance.lean)
    return 0.42 * sin(tilt), -0.42 * cos(tilt)
