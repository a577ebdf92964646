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
