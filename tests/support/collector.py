"""A collector of OpenTelemetry spans: what an OTLP/HTTP exporter sends, kept in memory."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """process: which of ours made it. parent: span id, empty for the first of a trace."""

    name: str
    process: str
    trace: str
    id: str
    parent: str
    failed: bool


@dataclass
class Collector:
    url: str = ""
    arrived: threading.Condition = field(default_factory=threading.Condition)
    spans: list[Span] = field(default_factory=list)

    def trace(self, trace: str, names: set[str], timeout_s: float = 60) -> dict[str, Span]:
        """By name, as soon as a trace has spans of all these names."""

        def found() -> dict[str, Span]:
            return {span.name: span for span in self.spans if span.trace == trace}

        with self.arrived:
            assert self.arrived.wait_for(lambda: names <= found().keys(), timeout_s), found()
            return found()

    def take(self, raw: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            said = {one.key: one.value.string_value for one in resource.resource.attributes}
            made = [
                Span(
                    span.name,
                    said["process.role"],
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            with self.arrived:
                self.spans += made
                self.arrived.notify_all()


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            raw = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            collector.take(raw)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
