"""The switch: off unless a collector is named, one line when the library is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.core.telemetry import tracing
from tests.support.servers import ROOT


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_a_collector_switches_it_on(environment: dict[str, str], on: bool) -> None:
    assert tracing.wanted(environment) is on


def test_disabled_tracing_creates_no_spans() -> None:
    with tracing.span("submit", None) as span:
        assert span is None
        assert tracing.carrier() == {}
        tracing.failed(span, "no exporter")


def test_off_no_exporter_is_loaded() -> None:
    """redis-py and FastAPI import what they find of the library by themselves."""
    code = "import sys, app.main, worker.main; print('opentelemetry.exporter' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SystemExit) as left:
        tracing.start("api")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in str(left.value)
    assert "\n" not in str(left.value)
    assert not tracing.active()
