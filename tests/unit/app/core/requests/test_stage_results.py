"""What a stage adds to a record, as the version before writes it into the hash."""

from __future__ import annotations

import json

from app.core.requests.stage_results import (
    FinishResult,
    GenerateResult,
    MapResult,
    PrepareResult,
    StageResult,
)
from app.core.requests.types import Provenance
from tests.support.records import CONTROL_MAP, output


def test_a_download_adds_nothing() -> None:
    assert StageResult().to_fields() == {}


def test_the_fields_of_prepare() -> None:
    result = PrepareResult(width=640, height=480, work=5.5, profile="fast", annotated=True)
    assert result.to_fields() == {
        "width": "640",
        "height": "480",
        "work": "5.5",
        "profile": "fast",
        "annotated": "true",
    }


def test_the_fields_of_generate() -> None:
    provenance = Provenance(checkpoint="demo")
    result = GenerateResult(1.5, 40, 20, "exact", provenance)
    fields = {
        "inference_s": "1.5",
        "evaluations": "40",
        "controlled": "20",
        "profile": "exact",
        "made_with": json.dumps(provenance.to_dict()),
    }
    assert result.to_fields() == fields
    predicted = GenerateResult(1.5, 40, 20, "exact", provenance, predicted_s=2.5)
    assert predicted.to_fields() == {**fields, "predicted_s": "2.5"}
    assert MapResult(1.5).to_fields() == {"inference_s": "1.5"}


def test_the_fields_of_finish() -> None:
    outputs = output(0), output(1)
    fields = {"outputs": json.dumps([picture.to_dict() for picture in outputs])}
    assert FinishResult(outputs).to_fields() == fields
    with_map = {**fields, "control_map": json.dumps(CONTROL_MAP.to_dict())}
    assert FinishResult(outputs, CONTROL_MAP).to_fields() == with_map
    until = {"outputs_expire_at": "1700604800", "output_bytes": str(1000 + 1001 + 77)}
    result = FinishResult(outputs, CONTROL_MAP, outputs_expire_at=1_700_604_800)
    assert result.to_fields() == with_map | until
    further = json.dumps([CONTROL_MAP.to_dict()])
    result = FinishResult(outputs, CONTROL_MAP, (CONTROL_MAP,), 1_700_604_800)
    until["output_bytes"] = str(1000 + 1001 + 77 + 77)
    assert result.to_fields() == with_map | {"further_maps": further} | until
