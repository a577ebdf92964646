"""The prepare job: the size of a request, its control picture and its cost."""

from __future__ import annotations

import base64
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from rq import SimpleWorker

from app.core.accounts.credits import Ledger, to_amount
from app.core.images.encode import fit
from app.core.queueing.jobs import GPU
from app.core.queueing.workers import MAX_PIXELS_FIELD
from app.core.redis import keys
from app.core.redis.keys import evaluation_seconds
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.store import Account
from app.core.requests.types import GenerationParameters, Source
from app.core.requests.work import load_of
from models.controls import make_plain_map
from models.evaluations import control_factor, relative_cost
from models.geometry import fit_within, generated_size
from models.spec import Control
from tests.support.pictures import astronaut, encoded
from worker import prepare as job
from worker.runtime import Runtime

ID = "d" * 32
PARAMS = GenerationParameters(
    cn_type="depth",
    use_input_img_dimension=True,
    custom_width=640,
    custom_height=480,
    sampler="heun",
    scheduler="ddim_uniform",
    steps=15,
    samples=2,
)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, int]]]:
    """The limits that the job sets for its process, which here is the test process."""
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *given: asked.append(given))
    return asked


FILE = Source(kind="file")


def ended(
    context: Runtime,
    source: Source,
    data: bytes | None = None,
    account: Account | None = None,
    **params: Any,
) -> RequestRecord:
    """The record after the job."""
    requests = context.requests
    expires_at = requests.expiry()
    requests.submit(
        ID, "a", replace(PARAMS, **params), source, expires_at, account=account or Account()
    )
    if data is not None:
        context.blobs.put(f"{ID}:source", data, expires_at)
    job.prepare(ID)
    record = requests.get(ID)
    assert record is not None
    return record


def prepared(
    context: Runtime, size: tuple[int, int], account: Account | None = None, **params: Any
) -> RequestRecord:
    """The record after the job, for an uploaded picture of `size`."""
    record = ended(context, FILE, encoded(astronaut(size)), account, **params)
    assert record.error is None
    return record


def test_prepare_stores_size_control_picture_and_work(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime, (100, 60))
    assert (record.width, record.height) == (100, 60)
    control = worker_runtime.blobs.get(f"{ID}:control")
    assert control is not None
    assert len(control) == 112 * 64 * 3
    # 15 steps are 16 in this schedule, two evaluations each but the last, two pictures.
    assert record.work == pytest.approx(112 * 64 / 2**20 * 31 * 2)
    assert record.load == load_of(record.params, (100, 60), "demo").total
    assert worker_runtime.jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert worker_runtime.blobs.get(f"{ID}:source") is None


@pytest.mark.parametrize(
    ("size", "target"), [((1, 1), (1, 1)), ((20_000, 1), (4096, 1)), ((1, 20_000), (1, 4096))]
)
def test_the_thinnest_pictures_get_a_valid_size(
    worker_runtime: Runtime, size: tuple[int, int], target: tuple[int, int]
) -> None:
    record = prepared(worker_runtime, size)
    assert (record.width, record.height) == target
    control = worker_runtime.blobs.get(f"{ID}:control")
    assert control is not None
    width, height = generated_size(target)
    assert len(control) == width * height * 3


@pytest.mark.parametrize("control", ["canny", "tile", "blur", "gray", "lq"])
def test_a_map_that_needs_no_detector_is_made_by_prepare(
    worker_runtime: Runtime, control: str
) -> None:
    record = prepared(worker_runtime, (112, 64), cn_type=control)
    assert record.annotated
    expected = make_plain_map(control, astronaut((112, 64)), (112, 64))
    assert expected is not None
    assert worker_runtime.blobs.get(f"{ID}:control") == expected.tobytes()


def test_edges_have_the_thresholds_of_the_request(worker_runtime: Runtime) -> None:
    thresholds = {"canny_low": 20, "canny_high": 60}
    prepared(worker_runtime, (112, 64), cn_type="canny", **thresholds)
    expected = make_plain_map("canny", astronaut((112, 64)), (112, 64), 20, 60)
    assert expected is not None
    assert worker_runtime.blobs.get(f"{ID}:control") == expected.tobytes()


@pytest.mark.parametrize("control", ["depth", "pose"])
def test_a_map_that_needs_a_detector_is_left_to_the_gpu_worker(
    worker_runtime: Runtime, control: str
) -> None:
    record = prepared(worker_runtime, (112, 64), cn_type=control)
    assert not record.annotated
    assert worker_runtime.blobs.get(f"{ID}:control") == astronaut((112, 64)).tobytes()


def test_a_custom_size_is_used_unchanged(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime, (100, 60), use_input_img_dimension=False)
    assert (record.width, record.height) == (640, 480)


def test_an_input_is_scaled_down_to_what_the_smallest_card_can_do(worker_runtime: Runtime) -> None:
    queue = worker_runtime.jobs.queue(GPU)
    card = SimpleWorker([queue], connection=worker_runtime.redis)
    card.register_birth()
    worker_runtime.redis.hset(card.key, MAX_PIXELS_FIELD, 80 * 40)
    record = prepared(worker_runtime, (160, 80))
    assert (record.width, record.height) == (80, 40)
    assert generated_size((80, 40)) == (80, 48)
    assert record.work == pytest.approx(80 * 48 / 2**20 * 31 * 2)


@pytest.mark.parametrize(
    ("pixels", "seconds"),
    [(0, 3.0), (2_000_000, 4.0), (83_999_998, 44.999999), (84_000_000, 45.0), (10**9, 45.0)],
)
def test_the_time_of_a_decoder_grows_with_the_pixels(pixels: int, seconds: float) -> None:
    """64 megapixels take 11 s of a core at most; a job has 90 s, 20 of them for the download."""
    assert job._decode_seconds(pixels) == pytest.approx(seconds, abs=1e-9)


def test_a_decoder_that_takes_too_long_fails_its_request(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header and the pixels have a time limit each; after it the process ends."""
    allowed: list[float] = []
    errors: list[str | None] = []

    @contextmanager
    def elapsed(seconds: float, on_timeout: Callable[[], None]) -> Iterator[None]:
        allowed.append(seconds)
        on_timeout()
        record = worker_runtime.requests.get(ID)
        assert record is not None
        errors.append(record.error)
        yield

    monkeypatch.setattr(job, "time_limit", elapsed)
    ended(worker_runtime, Source("control_image", "file"), encoded(astronaut((1000, 500))))
    assert allowed == [3.0, 3.25]
    assert set(errors) == {"control_image: decoding it takes longer than it may"}


GIB = 1024**3


@pytest.mark.parametrize(("hard", "bound"), [(-1, 4 * GIB), (5 * GIB, 4 * GIB), (3 * GIB, 3 * GIB)])
def test_a_work_horse_may_use_four_gibibytes(
    worker_runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    limits: list[tuple[int, tuple[int, int]]],
    hard: int,
    bound: int,
) -> None:
    assert resource.RLIM_INFINITY == -1
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1, hard))
    prepared(worker_runtime, (16, 16))
    assert limits == [(resource.RLIMIT_AS, (bound, bound))]


def test_the_cost_is_settled_when_the_size_is_known(worker_runtime: Runtime) -> None:
    ledger = Ledger(worker_runtime.redis)
    ledger.open("k", 10.0)
    account = Account("k", price=2.0, reserved=to_amount(5.0))
    record = prepared(worker_runtime, (100, 60), account)
    cost = 112 * 64 / 2**20 * 31 * 2 * 2.0
    assert record.cost == pytest.approx(cost)
    assert ledger.balances() == {"k": pytest.approx(10.0 - cost)}


def test_a_request_that_exceeds_the_credits_fails(worker_runtime: Runtime) -> None:
    Ledger(worker_runtime.redis).open("k", 0.5)
    account = Account("k", price=2.0, reserved=to_amount(0.5))
    record = ended(worker_runtime, FILE, encoded(astronaut((100, 60))), account)
    assert record.status is Status.FAILED
    assert str(record.error).startswith("Insufficient credits. You have 0.5 credits,")
    assert worker_runtime.blobs.get(f"{ID}:control") is None


def test_an_execution_that_lost_its_claim_charges_no_credits(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:

    def taken_over(*given: Any) -> Any:
        worker_runtime.requests.claim(ID, Stage.PREPARE, "another")
        return fit_within(*given)

    monkeypatch.setattr(job, "fit_within", taken_over)
    ledger = Ledger(worker_runtime.redis)
    ledger.open("k", 10.0)
    account = Account("k", price=2.0, reserved=to_amount(5.0))
    record = ended(worker_runtime, FILE, encoded(astronaut((100, 60))), account)
    assert (record.status, record.width, record.cost) == (Status.QUEUED, None, 0.0)
    assert ledger.balances() == {"k": 5.0}
    assert worker_runtime.blobs.get(f"{ID}:source") is not None  # the other execution needs it


def test_a_request_for_a_map_alone_has_no_work_and_no_cost(worker_runtime: Runtime) -> None:
    account = Account("k", price=2.0)
    record = prepared(worker_runtime, (100, 60), account, only_map=True)
    assert (record.work, record.load, record.cost) == (0.0, 0.0, 0.0)


REFUSAL = (
    "steps: 15 steps of heun at 100x60 with samples 2 take about 3240 s; allowed are at most "
    "3000 s, that is 0 of these 0 work units: samples 1, or 80x64"
)


def test_a_request_whose_picture_takes_too_long_fails(worker_runtime: Runtime) -> None:
    """The submission knows no size of a picture on another server."""
    cost = 31 * 2 * relative_cost("demo", (100, 60))
    worker_runtime.redis.set(evaluation_seconds("demo", "exact"), 3240 / cost)
    ledger = Ledger(worker_runtime.redis)
    ledger.open("k", 10.0)
    account = Account("k", price=2.0, reserved=to_amount(5.0))
    record = ended(worker_runtime, FILE, encoded(astronaut((100, 60))), account)
    assert (record.status, record.error) == (Status.FAILED, REFUSAL)
    assert record.error_status == 400
    assert ledger.balances() == {"k": pytest.approx(10.0)}
    assert worker_runtime.jobs.queue(GPU).job_ids == []


@pytest.mark.parametrize("params", [{"use_input_img_dimension": False}, {"only_map": True}])
def test_a_custom_size_and_a_map_alone_are_not_checked(
    worker_runtime: Runtime, params: dict[str, bool]
) -> None:
    worker_runtime.redis.set(evaluation_seconds("demo", "exact"), 1e9)
    prepared(worker_runtime, (100, 60), **params)


def link(context: Runtime, path: str) -> dict[str, str]:
    return Source(kind="url", url="https://a.example" + context.links.sign(path, 4_000_000_000))


@pytest.mark.parametrize(
    ("blob", "path", "lost"),
    [
        (
            f"{'e' * 32}:output:1",
            f"/files/{'e' * 32}/1.png",
            "image: the picture behind this link has expired",
        ),
        (
            f"{'e' * 32}:output:map",
            f"/files/{'e' * 32}/map.png",
            "image: the picture behind this link has expired",
        ),
        (
            f"upload:{'f' * 64}",
            f"/uploads/{'f' * 64}.png",
            "image: the uploaded picture behind this link has expired",
        ),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_picture_behind_our_own_link_is_read_from_the_store(
    worker_runtime: Runtime, blob: str, path: str, lost: str, there: bool
) -> None:
    if there:
        data = encoded(astronaut((30, 20)))
        worker_runtime.blobs.put(blob, data, worker_runtime.requests.expiry())
    record = ended(worker_runtime, link(worker_runtime, path))
    assert (record.width, record.height) == ((30, 20) if there else (None, None))
    assert record.error == (None if there else lost)


@pytest.mark.parametrize("kind", ["file", "url", "base64"])
def test_a_picture_comes_from_the_body_or_from_the_fetch_worker(
    worker_runtime: Runtime, kind: str
) -> None:
    data = encoded(astronaut((30, 20)))
    body = base64.b64encode(data) if kind == "base64" else data
    record = ended(worker_runtime, Source("image", kind, "https://a.example/a.png"), body)
    assert (record.width, record.height, record.error) == (30, 20, None)


def test_a_picture_whose_bytes_have_expired_is_a_failure(worker_runtime: Runtime) -> None:
    record = ended(worker_runtime, Source("control_image", "file"))
    assert (record.status, record.error) == (
        Status.FAILED,
        "control_image: its bytes have expired",
    )


@pytest.mark.parametrize("setting", [{"max_image_bytes": 50}, {"max_image_pixels": 599}])
def test_a_picture_may_be_as_large_as_the_settings_say(
    worker_runtime: Runtime, setting: dict[str, int]
) -> None:
    worker_runtime.settings = worker_runtime.settings.model_copy(update=setting)
    record = ended(worker_runtime, FILE, encoded(astronaut((30, 20))))
    assert (record.status, record.error_status) == (Status.FAILED, 400)


@pytest.mark.parametrize(
    ("size", "kept"), [((112, 64), True), ((100, 60), False)], ids=["padded", "not padded"]
)
def test_a_ready_map_of_the_generated_size_is_used_unchanged(
    worker_runtime: Runtime, size: tuple[int, int], kept: bool
) -> None:
    picture = astronaut(size)
    record = ended(
        worker_runtime,
        Source("control_image", "file"),
        encoded(picture),
        use_input_img_dimension=False,
        custom_width=100,
        custom_height=60,
    )
    assert record.annotated
    control = worker_runtime.blobs.get(f"{ID}:control")
    assert control is not None
    assert len(control) == 112 * 64 * 3
    assert (control == picture.tobytes()) is kept


@pytest.mark.parametrize(
    ("control", "early"), [("canny", True), ("tile", True), ("depth", False), ("pose", False)]
)
def test_the_file_of_a_map_is_stored_by_prepare(
    worker_runtime: Runtime, control: str, early: bool
) -> None:
    prepared(worker_runtime, (112, 64), cn_type=control)
    assert (worker_runtime.blobs.get(f"{ID}:output:map") is not None) is early


@pytest.mark.parametrize(("asked", "profile"), [({}, "fast"), ({"profile": "turbo"}, "turbo")])
def test_the_profile_is_that_of_the_request_or_of_the_settings(
    worker_runtime: Runtime, asked: dict[str, str], profile: str
) -> None:
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"profile": "fast"})
    assert prepared(worker_runtime, (16, 16), **asked).profile == profile


# ---- several controls

FIRST, SECOND = astronaut((112, 64)), astronaut((200, 200)).rotate(90)
OWN_MAP = "controls[1].control_image"


def prepared_controls(
    context: Runtime,
    controls: tuple[Control, ...],
    files: dict[str, Image.Image],
    **params: Any,
) -> RequestRecord:
    """The record after the job. files: by the parameters that hold them, in order."""
    requests = context.requests
    expires_at = requests.expiry()
    source, *further = (Source(field, "file") for field in files)
    stored = replace(PARAMS, controls=controls, sampler="euler", scheduler="simple", **params)
    requests.submit(ID, "a", stored, source, expires_at, further_sources=further)
    for index, file in enumerate(files.values()):
        context.blobs.put(keys.source_blob(ID, index), encoded(file), expires_at)
    job.prepare(ID)
    record = requests.get(ID)
    assert record is not None
    return record


def control_blobs(context: Runtime) -> list[bytes | None]:
    return [context.blobs.get(keys.control_blob(ID, control)) for control in range(3)]


def plain_map(control: str, picture: Image.Image) -> bytes:
    made = make_plain_map(control, picture, (112, 64))
    assert made is not None
    return made.tobytes()


def test_controls_share_the_picture_of_the_request(worker_runtime: Runtime) -> None:
    controls = (Control("canny"), Control("pose"), Control("tile"))
    record = prepared_controls(worker_runtime, controls, {"image": FIRST})
    assert (record.error, record.annotated) == (None, True)
    assert (record.annotations, record.are_maps) == ((True, False, True),) * 2
    expected = [plain_map("canny", FIRST), FIRST.tobytes(), plain_map("tile", FIRST)]
    assert control_blobs(worker_runtime) == expected
    assert worker_runtime.blobs.get(f"{ID}:source") is None


def test_each_control_gets_its_own_picture_at_the_size_of_the_first(
    worker_runtime: Runtime,
) -> None:
    controls = (Control("tile"), Control("pose"), Control("depth"))
    files = {"image": FIRST, OWN_MAP: SECOND, "controls[2].image": SECOND}
    record = prepared_controls(worker_runtime, controls, files)
    assert (record.width, record.height) == (112, 64)
    assert record.annotations == (True, True, False)  # a ready map is a map of any type
    fitted = fit(SECOND, (112, 64), (112, 64)).tobytes()
    assert control_blobs(worker_runtime) == [FIRST.tobytes(), fitted, fitted]
    assert [worker_runtime.blobs.get(keys.source_blob(ID, at)) for at in range(3)] == [None] * 3


@pytest.mark.parametrize("control", ["canny", "pose"])
def test_one_control_in_a_list_is_prepared_like_the_same_one_alone(
    worker_runtime: Runtime, control: str
) -> None:
    listed = prepared_controls(worker_runtime, (Control(control),), {"controls[0].image": FIRST})
    blobs = control_blobs(worker_runtime)
    worker_runtime.requests.forget(ID)
    alone = prepared_controls(worker_runtime, (), {"image": FIRST}, cn_type=control)
    assert control_blobs(worker_runtime) == blobs
    assert (alone.work, alone.annotated) == (listed.work, listed.annotated)
    assert alone.annotations is None
    assert alone.are_maps == listed.are_maps


def test_a_further_control_adds_work(worker_runtime: Runtime) -> None:
    controls = (Control("canny", stop=1.0), Control("pose", stop=0.25))
    record = prepared_controls(worker_runtime, controls, {"image": FIRST})
    factor = control_factor("demo", controls)
    assert factor > 1
    assert record.work == pytest.approx(112 * 64 / 2**20 * 15 * 2 * factor)


def test_a_picture_that_cannot_be_read_names_its_control(worker_runtime: Runtime) -> None:
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"max_image_pixels": 8000})
    record = prepared_controls(
        worker_runtime, (Control("canny"), Control("pose")), {"image": FIRST, OWN_MAP: SECOND}
    )
    assert (record.status, record.error_status) == (Status.FAILED, 400)
    assert record.error is not None
    assert record.error.startswith(f"{OWN_MAP}: ")
    assert control_blobs(worker_runtime) == [None] * 3


def test_all_decoders_of_a_request_have_one_time_limit(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has 90 s, and each picture may take 45."""
    allowed: list[float] = []

    @contextmanager
    def elapsed(seconds: float, _on_timeout: Callable[[], None]) -> Iterator[None]:
        allowed.append(seconds)
        yield

    clock = iter([0.0, 0.0, 1.0, 72.5, 74.5])
    monkeypatch.setattr(job, "time_limit", elapsed)
    controls = (Control("canny"), Control("pose"))
    with monkeypatch.context() as patch:
        patch.setattr(job, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        prepared_controls(worker_runtime, controls, {"image": FIRST, OWN_MAP: FIRST})
    assert allowed == [3.0, pytest.approx(3.003584), 2.5, 0.5]
