"""What a submission reserves: the cost of the picture where its size is known, else an estimate."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import Any

import pytest

from app.api.deps import Services
from app.api.submission.pictures import pictures_of
from app.api.submission.pricing import account_of, expected_work
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.redis import keys
from app.core.requests.store import Account
from app.core.requests.work import ExpectedWork, load_of
from app.core.storage.links import output_path, upload_path
from models.evaluations import control_factor
from models.spec import Control
from tests.support.records import CONTROL_MAP, REQUEST_ID, completed, output

BUDGETED = Key("abcdef012345", "team-a", 0.0, budgeted=True, concurrency=3)
BILLION = 10**9
LATER = int(time.time()) + 86_400  # longer than the tests may take


def gif(width: int, height: int) -> bytes:
    """As much of one as its size needs."""
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes(8)


def body(**changes: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x", **changes})


def account(
    services: Services,
    asked: FluxControlNetBody,
    upload: bytes | None = None,
    inline: bytes | None = None,
    key: Key = BUDGETED,
    only_map: bool = False,
) -> Account:
    """upload, inline: of `image`."""
    files = {} if upload is None else {"image": upload}
    long = {} if inline is None else {"image": inline}
    picture = pictures_of(asked, files, long)[0]
    params = asked.parameters(seed=0, only_map=only_map)
    return account_of(key, expected_work(params, key, picture, services), services)


def megapixels(
    services: Services,
    asked: FluxControlNetBody,
    upload: bytes | None = None,
    inline: bytes | None = None,
) -> float:
    """Of the picture that is reserved for, at 20 evaluations."""
    return account(services, asked, upload, inline).reserved / BILLION / 20


def test_a_key_without_a_budget_reserves_nothing(services: Services) -> None:
    key = Key("abcdef012345", "team-a", 0.0, concurrency=3)
    assert account(services, body(), key=key) == Account("abcdef012345", 1.0, 0, 3)


def test_a_key_with_a_budget_reserves_what_a_picture_costs(services: Services) -> None:
    assert account(services, body()) == Account("abcdef012345", 1.0, 20 * BILLION, 3)


def test_a_control_map_alone_is_free(services: Services) -> None:
    assert account(services, body(), only_map=True).reserved == 0


@pytest.mark.parametrize(
    ("changes", "evaluations"),
    [
        ({"steps": 15}, 15),
        ({"samples": 4}, 80),
        ({"sampler": "heun"}, 39),
        ({"sampler": "heun", "steps": 15, "samples": 2}, 58),
    ],
)
def test_evaluations_and_pictures_are_paid_for(
    services: Services, changes: dict[str, Any], evaluations: int
) -> None:
    reserved = account(services, body(**changes)).reserved
    assert reserved == evaluations * BILLION


def test_a_control_in_a_list_costs_what_it_costs_alone_and_each_further_one_more(
    services: Services,
) -> None:
    wide, narrow = {"type": "canny", "stop": 1}, {"type": "pose", "stop": 0.25}
    assert account(services, body(controls=[wide])) == account(services, body())
    dearer = account(services, body(controls=[wide, narrow])).reserved / 20 / BILLION
    assert dearer == pytest.approx(control_factor("demo", [Control(**wide), Control(**narrow)]))
    assert dearer > 1


def test_the_first_picture_of_several_decides_the_price(services: Services) -> None:
    picture = base64.b64encode(gif(512, 512)).decode()
    own = {"type": "canny", "image": picture}
    assert megapixels(services, body(controls=[own])) == 0.25
    assert megapixels(services, body(controls=[own, {"type": "pose", "stop": 0}])) == 1.0


@pytest.mark.parametrize(
    ("width", "height", "of_a_megapixel"),
    [(512, 512, 0.25), (1024, 512, 0.5), (500, 500, 0.25), (512, 513, 0.2578125)],
)
def test_a_custom_size_is_rounded_up_to_whole_tokens(
    services: Services, width: int, height: int, of_a_megapixel: float
) -> None:
    asked = body(use_input_img_dimension=False, custom_width=width, custom_height=height)
    assert megapixels(services, asked) == of_a_megapixel
    assert megapixels(services, asked, gif(64, 64)) == of_a_megapixel


def test_a_picture_that_came_along_is_measured(services: Services) -> None:
    picture = gif(1024, 512)
    encoded = base64.b64encode(picture)
    assert megapixels(services, body(), picture) == 0.5
    assert megapixels(services, body(image=encoded.decode())) == 0.5
    assert megapixels(services, body(image=f"data:image/gif;base64,{encoded.decode()}")) == 0.5
    assert megapixels(services, body(image="base64"), inline=encoded) == 0.5
    asked = body(image="http://a.example/a.png", control_image=encoded.decode())
    assert megapixels(services, asked) == 0.5


@pytest.mark.parametrize("image", ["http://a.example/a.png", "aGVsbG8=", "?"])
def test_a_picture_that_is_elsewhere_or_none_counts_as_a_megapixel(
    services: Services, image: str
) -> None:
    assert megapixels(services, body(image=image)) == 1.0
    assert megapixels(services, body(), b"no picture") == 1.0


def test_a_picture_larger_than_the_server_makes_is_paid_for_as_it_is_made(
    services: Services,
) -> None:
    assert megapixels(services, body(), gif(8192, 64)) == 4096 * 32 / 2**20
    assert megapixels(services, body(), gif(4096, 4096)) == 16.0


@pytest.mark.parametrize(
    ("name", "of_a_megapixel"),
    [("0.jpeg", 0.5), ("1.jpeg", 0.25), ("map.png", 0.5), ("2.jpeg", 1.0)],
)
def test_a_picture_that_was_made_here_is_measured(
    services: Services, name: str, of_a_megapixel: float
) -> None:
    outputs = [output(0, width=1024, height=512), output(1, width=512, height=512)]
    control_map = replace(CONTROL_MAP, width=512, height=1024)
    completed(services.requests, outputs=outputs, control_map=control_map)
    link = services.links.sign(output_path(REQUEST_ID, name), LATER)
    assert megapixels(services, body(image=f"https://any.example{link}")) == of_a_megapixel
    forged = f"https://any.example{link}0"
    assert megapixels(services, body(image=forged)) == 1.0
    services.requests.forget(REQUEST_ID)
    assert megapixels(services, body(image=f"https://any.example{link}")) == 1.0
    # The picture outlives its record.
    services.blobs.put(keys.output_blob(REQUEST_ID, name.partition(".")[0]), gif(512, 256), LATER)
    assert megapixels(services, body(image=f"https://any.example{link}")) == 0.125


def test_a_picture_that_was_uploaded_is_measured(services: Services) -> None:
    sha256 = "a" * 64
    link = services.links.sign(upload_path(sha256, "gif"), LATER)
    assert megapixels(services, body(image=f"http://x{link}")) == 1.0
    services.blobs.put(keys.upload_blob(sha256), gif(512, 512), LATER)
    assert megapixels(services, body(image=f"http://x{link}")) == 0.25


def expected(services: Services, key: Key, only_map: bool = False, **fields: Any) -> ExpectedWork:
    asked = body(**fields)
    params = asked.parameters(seed=0, only_map=only_map)
    return expected_work(params, key, pictures_of(asked, {}, {})[0], services)


def test_the_work_of_every_key_is_expected_at_submission(services: Services) -> None:
    unlimited = Key("abcdef012345", "team-a", 0.0)
    picture = base64.b64encode(gif(512, 512)).decode()
    work = expected(services, unlimited, image=picture, profile="turbo", steps=40)
    assert work == expected(services, BUDGETED, image=picture, profile="turbo", steps=40)
    assert (work.work, work.profile) == (10.0, "turbo")
    load = load_of(body(steps=40).parameters(seed=0, only_map=False), (512, 512), "demo")
    assert work.load == load.total
    assert expected(services, unlimited).profile == services.settings.profile


def test_a_control_map_alone_is_no_work(services: Services) -> None:
    assert expected(services, BUDGETED, only_map=True) == ExpectedWork(0.0, 0.0, "exact")


def test_a_stored_picture_is_read_for_a_price_only(services: Services) -> None:
    sha256 = "b" * 64
    services.blobs.put(keys.upload_blob(sha256), gif(512, 512), LATER)
    link = f"http://x{services.links.sign(upload_path(sha256, 'gif'), LATER)}"
    assert expected(services, BUDGETED, image=link).work == 5.0
    assert expected(services, Key("abcdef012345", "team-a", 0.0), image=link).work == 20.0
