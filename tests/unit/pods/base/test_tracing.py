"""Spans cost nothing while they are off, and say an error by its name alone."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pods.base import tracing


@pytest.fixture(autouse=True)
def off_afterwards() -> Iterator[None]:
    yield
    tracing.start(None)


def test_nothing_is_made_while_traces_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as where the extra is missing
    sent: dict[str, Any] = {}
    assert not tracing.is_on()
    tracing.write_context(sent)
    assert tracing.span("a") is tracing.span_of_task("b", sent) is tracing.NOTHING
    assert sent == {}


def test_a_task_is_below_the_span_that_sent_it_and_an_error_has_no_text() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.start(provider.get_tracer("tests"))
    sent: dict[str, Any] = {}
    with tracing.span("tick", fleet=7):
        tracing.write_context(sent)
    with (
        pytest.raises(ValueError, match="hunter2"),
        tracing.span_of_task("spawn", sent, id=3),
        tracing.span("create"),
    ):
        raise ValueError("the key hunter2 is wrong")
    spans = {span.name: span for span in kept.get_finished_spans()}
    tick, spawn, create = spans["tick"], spans["spawn"], spans["create"]
    assert tick.parent is None
    assert (spawn.parent.span_id, create.parent.span_id) == (
        tick.context.span_id, spawn.context.span_id,
    )  # fmt: skip
    assert len({s.context.trace_id for s in (tick, spawn, create)}) == 1
    assert dict(tick.attributes) == {"podfleet.fleet": 7}
    assert create.status.description == "ValueError"
    assert not [event for s in (spawn, create) for event in s.events]
