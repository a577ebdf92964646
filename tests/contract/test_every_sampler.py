"""Each of the 29 samplers and each of the 7 schedules through the running server, by v1 and by v2
in turn. That all 203 pairs are computed right is proved by tests/golden and the unit tests; here
their names, evaluations and pictures pass through the wire.
"""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from segmind import SegmindClient

from models.sampling import CATALOGUE, sigmas_for
from models.spec import SAMPLER_ALIASES, SAMPLER_NAMES, SCHEDULE_NAMES
from tests.support.bodies import small
from tests.support.pictures import opened

STEPS = 15
SIZE = (64, 80)


PAIRS = [(sampler, "simple") for sampler in SAMPLER_NAMES] + [
    ("dpmpp_2m", schedule) for schedule in SCHEDULE_NAMES if schedule != "simple"
]


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_every_sampler_and_every_schedule(
    client: SegmindClient, http: httpx.Client, sampler: str, schedule: str
) -> None:
    """COMPLETED, of the right size, not one flat colour, with the evaluations it should cost."""
    body = small(
        sampler=sampler,
        scheduler=schedule,
        steps=STEPS,
        seed=7,
        use_input_img_dimension=False,
        custom_width=SIZE[0],
        custom_height=SIZE[1],
        image_format="png",
    )
    by_v1 = (SAMPLER_NAMES.index(sampler) + SCHEDULE_NAMES.index(schedule)) % 2 == 0
    if by_v1:
        answer = client.run_sync("flux-controlnet", **body)
        request_id, data = answer.headers["x-request-id"], answer.content
        result = http.get(f"/v2/requests/{request_id}").json()
    else:
        result = client.submit_async("flux-controlnet", **body).wait(timeout=120, interval=0.05)
        data = httpx.get(result["output"]).content
    assert result["status"] == "COMPLETED"
    pixels = np.asarray(opened(data))
    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    assert pixels.std() > 5
    _check_evaluations(sampler, schedule, result["metrics"])


def _check_evaluations(sampler: str, schedule: str, metrics: dict[str, float]) -> None:
    evaluations = CATALOGUE[sampler].evaluations
    made, controlled = metrics["model_evaluations"], metrics["controlled_evaluations"]
    assert 1 <= controlled < made
    if evaluations is None:  # the picture decides
        assert made % 3 == 0
    else:
        assert made == evaluations(len(sigmas_for(schedule, STEPS, sampler=sampler)) - 1)


@pytest.mark.parametrize(("alias", "name"), SAMPLER_ALIASES.items())
def test_a_misprinted_name_is_its_sampler(client: SegmindClient, alias: str, name: str) -> None:
    pictures = [
        client.run_sync("flux-controlnet", **small(sampler=sampler, seed=3)).content
        for sampler in (alias, name)
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde", "ddpm"])
def test_noise_belongs_to_the_picture(client: SegmindClient, sampler: str) -> None:
    """The same seed twice is the same bytes; picture 1 of seed 7 is the picture of seed 8."""
    both = client.run_sync(
        "flux-controlnet", **small(sampler=sampler, seed=7, samples=2, base64=True)
    ).json()["image"]
    for index, seed in enumerate((7, 8)):
        single = client.run_sync(
            "flux-controlnet", **small(sampler=sampler, seed=seed, base64=True)
        ).json()["image"]
        assert single == both[index]
    assert both[0] != both[1]
