"""Optional OpenTelemetry tracing: a span for a submission and for each job of the request, in one
trace, which the client can start.

Off, and without an import of the library, unless OTEL_EXPORTER_OTLP_ENDPOINT is set. Jobs read
their parent span from the record (`traceparent`, W3C), so they can run on any host at any time.
Knows neither HTTP nor RQ.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

TRACEPARENT = "traceparent"
"""The W3C header, and the field of the record."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_SHUTDOWN_S = 2.0

_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(environment.get(name) for name in _ENDPOINTS)


def start(process: str, processor: SpanProcessor | None = None) -> None:
    """Enable tracing for this process, until stop().

    processor: replaces the OTLP exporter in tests. Exits with one line if the library is not
    installed.
    """
    global _tracer, _provider
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SystemExit(
            f"settings: {_ENDPOINTS[0]}: the extra `tracing` of this package is not installed"
        ) from None
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over these values.
    name = os.environ.get("OTEL_SERVICE_NAME", "flux-controlnet")
    resource = Resource.create({"service.name": name, "process.role": process})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    _provider = provider
    _tracer = provider.get_tracer("flux-controlnet-server")


def stop() -> None:
    """Disable tracing; export the remaining spans for at most _SHUTDOWN_S."""
    global _tracer, _provider
    provider, _tracer, _provider = _provider, None, None
    if provider is not None:
        shutdown = threading.Thread(target=provider.shutdown, name="span export", daemon=True)
        shutdown.start()
        shutdown.join(_SHUTDOWN_S)


def active() -> bool:
    return _tracer is not None


@contextmanager
def span(
    name: str, parent: str | None, *, server: bool = False, **attributes: Any
) -> Iterator[Span | None]:
    """A span around the block, below `parent` (a traceparent); None if tracing is off."""
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({TRACEPARENT: parent} if parent else {})
    kind = SpanKind.SERVER if server else SpanKind.CONSUMER
    with _tracer.start_as_current_span(name, context, kind, attributes) as current:
        yield current


def carrier() -> dict[str, str]:
    """`traceparent` of the current span, for the record; empty if tracing is off."""
    carried: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carried)
    return {TRACEPARENT: carried[TRACEPARENT]} if TRACEPARENT in carried else {}


def failed(span: Span | None, reason: str) -> None:
    """Set the status of a span to error."""
    if span is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, reason))
