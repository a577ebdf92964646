"""The record: how it is read from a request's hash, and the meaning of its fields."""

from __future__ import annotations

import pytest

from app.core.redis import keys
from app.core.requests import record as record_module
from app.core.requests.record import ID, RequestRecord, Stage, Status, record_from
from app.core.requests.types import (
    GenerationParameters,
    Output,
    Provenance,
    SavedWork,
    Source,
    StoredPicture,
    WebhookTarget,
)
from models.spec import Control

NAME = "a" * 32
NEW = {
    "status": "QUEUED",
    "owner": "team-a",
    "params": '{"prompt": "x"}',
    "source": '{"kind": "file"}',
    "created_at": "1000.5",
    "expires_at": "4600",
    "stage": "1",
}
"""All that every record has."""


def read(**fields: str) -> RequestRecord:
    found = record_from(NAME, {**NEW, **fields})
    assert found is not None
    return found


def test_the_keys_of_a_request_are_named_after_it() -> None:
    assert keys.request(NAME) == f"req:{NAME}"
    assert keys.request_events(NAME) == f"req:{NAME}:events"


@pytest.mark.parametrize(
    ("text", "valid"),
    [(NAME, True), (NAME[1:], False), (NAME + "a", False), ("A" * 32, False), ("g" * 32, False)],
)
def test_an_id_is_thirty_two_hexadecimal_digits(text: str, valid: bool) -> None:
    assert bool(ID.fullmatch(text)) is valid


def test_a_new_record_has_defaults_for_what_is_not_known_yet() -> None:
    assert read() == RequestRecord(
        id=NAME,
        owner="team-a",
        status=Status.QUEUED,
        params=GenerationParameters(prompt="x"),
        source=Source(kind="file"),
        created_at=1000.5,
        expires_at=4600.0,
        started_at=None,
        ended_at=None,
        step=0,
        steps=0,
        width=None,
        height=None,
        work=None,
        annotated=False,
        stage=Stage.PREPARE,
        error=None,
        error_status=500,
        outputs=(),
        inference_s=None,
        evaluations=0,
        controlled=0,
        profile="exact",
        predicted_s=None,
        saved_work=SavedWork(),
        webhook=None,
        key_id="",
        price=0.0,
        cost=0.0,
        remaining=None,
        control_map=None,
        provenance=None,
    )


def test_missing_fields_of_a_record_have_the_values_of_a_new_one() -> None:
    params, source = GenerationParameters(prompt="x"), Source(kind="file")
    short = RequestRecord(NAME, "team-a", Status.QUEUED, params, source, 1000.5, 4600.0)
    assert short == read()


def test_every_field_of_the_hash_is_in_the_record() -> None:
    found = read(
        status="COMPLETED",
        stage="3",
        started_at="1001.25",
        ended_at="1009.75",
        step="7",
        steps="20",
        width="640",
        height="480",
        work="12.5",
        annotated="true",
        error="no",
        error_status="400",
        outputs='[{"file_name": "0.png"}]',
        inference_s="3.5",
        evaluations="40",
        controlled="24",
        profile="turbo",
        predicted_s="8.5",
        kept='{"made": [[1, 2]], "chunks": [["a", 3]], "seconds": 1.5, "later": 1}',
        webhook='{"url": "https://a.example/"}',
        key="k",
        price="0.5",
        cost="1500000000",
        remaining="2250000000",
        control_map='{"file_name": "map.png"}',
        made_with='{"checkpoint": "demo"}',
    )
    assert found == RequestRecord(
        id=NAME,
        owner="team-a",
        status=Status.COMPLETED,
        params=GenerationParameters(prompt="x"),
        source=Source(kind="file"),
        created_at=1000.5,
        expires_at=4600.0,
        started_at=1001.25,
        ended_at=1009.75,
        step=7,
        steps=20,
        width=640,
        height=480,
        work=12.5,
        annotated=True,
        stage=Stage.FINISH,
        error="no",
        error_status=400,
        outputs=(Output("0.png"),),
        inference_s=3.5,
        evaluations=40,
        controlled=24,
        profile="turbo",
        predicted_s=8.5,
        saved_work=SavedWork("", ((1, 2),), (("a", 3),), 1.5),
        webhook=WebhookTarget("https://a.example/"),
        key_id="k",
        price=0.5,
        cost=1.5,
        remaining=2.25,
        control_map=StoredPicture("map.png"),
        provenance=Provenance(checkpoint="demo"),
    )


@pytest.mark.parametrize("fields", [{}, {"step": "3"}])
def test_a_hash_without_a_status_is_no_record(fields: dict[str, str]) -> None:
    assert record_from(NAME, fields) is None


def test_a_balance_of_nothing_is_a_balance() -> None:
    assert read(remaining="0").remaining == 0.0


@pytest.mark.parametrize(("text", "annotated"), [("true", True), ("false", False)])
def test_annotated_is_as_json_has_it(text: str, annotated: bool) -> None:
    assert read(annotated=text).annotated is annotated


def test_the_stages_have_their_order_and_numbers() -> None:
    assert [(stage.name, int(stage)) for stage in Stage] == [
        ("FETCH", 0),
        ("PREPARE", 1),
        ("GENERATE", 2),
        ("FINISH", 3),
    ]
    assert [stage.next for stage in Stage if stage is not Stage.FINISH] == [1, 2, 3]


def test_two_statuses_are_ends() -> None:
    assert [status for status in Status if status.terminal] == ["COMPLETED", "FAILED"]
    assert list(Status) == ["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]


@pytest.mark.parametrize(
    ("params", "only_map"),
    [("{}", False), ('{"only_map": false}', False), ('{"only_map": true}', True)],
)
def test_a_request_for_a_map_alone_has_its_own_parameter(params: str, only_map: bool) -> None:
    assert read(params=params).only_map is only_map


@pytest.mark.parametrize(
    ("fields", "queue_s", "total_s"),
    [
        ({}, 99.5, 99.5),
        ({"started_at": "1001"}, 0.5, 99.5),
        ({"started_at": "1001", "ended_at": "1009"}, 0.5, 8.5),
        ({"ended_at": "1003"}, 2.5, 2.5),  # cancelled while it waited
    ],
)
def test_times_count_from_the_submission_to_the_start_the_end_or_now(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], queue_s: float, total_s: float
) -> None:
    monkeypatch.setattr(record_module, "time", FixedTime)
    found = read(**fields)
    assert (found.queue_s, found.total_s) == (queue_s, total_s)


class FixedTime:
    @staticmethod
    def time() -> float:
        return 1100.0


CONTROLS = '[{"type": "canny", "strength": 1, "start": 0, "stop": 1}, {"type": "pose", "later": 1}]'


def test_a_control_has_its_own_picture_or_that_of_the_request() -> None:
    further = (
        '[{"field": "controls[1].control_image", "kind": "file"},'
        ' {"field": "controls[2].image", "kind": "url", "url": "https://a.example/"}]'
    )
    record = read(source='{"field": "image", "kind": "base64"}', further_sources=further)
    assert [source.is_map for source in record.sources] == [False, True, False]
    assert [record.source_of(control) for control in range(3)] == [0, 1, 2]
    own = read(source='{"field": "controls[0].image"}')
    assert [own.source_of(0), read().source_of(0)] == [0, 0]
    late = read(further_sources='[{"field": "controls[0].image"}]')
    assert [late.source_of(control) for control in range(2)] == [1, 0]


def test_the_controls_of_a_record_are_read() -> None:
    record = read(params=f'{{"cn_type": "newer:pose", "controls": {CONTROLS}}}')
    assert record.params.all_controls == (Control("canny", 1, 0, 1), Control("pose"))
    assert record.params.cn_type == "pose"
    assert record.are_maps is None
    prepared = read(params=f'{{"controls": {CONTROLS}}}', annotations="[true, false]")
    assert prepared.are_maps == (True, False)
    assert read(annotated="true").are_maps == (True,)


def test_the_maps_of_all_controls_come_after_the_pictures() -> None:
    maps = {"control_map": '{"file_name": "map.png"}', "further_maps": '[{"file_name": "b"}]'}
    record = read(outputs='[{"file_name": "0.png"}]', **maps)
    assert [picture.file_name for picture in record.pictures] == ["0.png", "map.png", "b"]


def test_files_expire_with_the_record_unless_they_have_an_expiry() -> None:
    assert read().files_expire_at == 4600.0
    assert read(outputs_expire_at="605800", output_bytes="7").files_expire_at == 605_800.0
