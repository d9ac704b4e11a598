"""A collector gets one trace from the tick over the spawn to the call to the vendor."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import FAST, Installation, write_items

Span = tuple[bytes, bytes, bytes, str]  # the trace, the span, its parent, its name


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """An OTLP receiver on HTTP: its address, and the spans that it got."""
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        reason="the extra otel is not installed",
    )
    got: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = service.ExportTraceServiceRequest.FromString(body)
            got.extend(
                (span.trace_id, span.span_id, span.parent_span_id, span.name)
                for resource in asked.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(180)
@pytest.mark.takes(15)
@pytest.mark.one_database
def test_a_call_to_the_vendor_is_in_the_trace_of_the_tick_that_wanted_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with collector() as (url, spans):
        for name, value in {
            "PODFLEET_TRACES": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }.items():
            monkeypatch.setenv(name, value)
        installation.fleet("create", "emb", *FAST, "--max-instances", "1")
        installation.fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 50)))
        installation.start(monkeypatch)

        def chain() -> bool:
            """Whether a create stands below a spawn, and that below a tick, in one trace."""
            by_id = {(trace, span): (parent, name) for trace, span, parent, name in spans}
            for trace, _, parent, name in list(spans):
                spawn = by_id.get((trace, parent)) if name == "local create" else None
                tick = by_id.get((trace, spawn[0])) if spawn else None
                if spawn and tick and (spawn[1], tick[1]) == ("pods.spawn", "fleet.tick"):
                    return True
            return False

        installation.until(chain)
