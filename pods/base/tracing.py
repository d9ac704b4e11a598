"""Spans of OpenTelemetry around what the manager does. Without the extra `otel` they cost nothing.

`start` switches them on. Until then, and without the packages, `span` gives a context that does nothing.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

NOTHING: Final = nullcontext()
# The tracer while traces are on.
_state: dict[str, Any] = {"tracer": None}


def start(tracer: Any) -> None:
    """Give all spans to this tracer from now on; None: none are made."""
    _state["tracer"] = tracer


def is_on() -> bool:
    """Whether spans are made."""
    return _state["tracer"] is not None


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a block. An error in it marks the span, by the error's name alone."""
    tracer = _state["tracer"]
    return NOTHING if tracer is None else _spanned(tracer, name, attributes, None)


def span_of_task(
    name: str, carrier: Mapping[str, Any], **attributes: Any
) -> AbstractContextManager[Any]:
    """A span around a task, below the span that sent it."""
    tracer = _state["tracer"]
    if tracer is None:
        return NOTHING
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - an extra

    parent = tracecontext.TraceContextTextMapPropagator().extract(dict(carrier))
    return _spanned(tracer, name, attributes, parent)


def write_context(carrier: MutableMapping[str, Any]) -> None:
    """Write the present span into what is sent, for `span_of_task`."""
    if is_on():
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - an extra

        tracecontext.TraceContextTextMapPropagator().inject(carrier)


@contextmanager
def _spanned(tracer: Any, name: str, attributes: Mapping[str, Any], parent: Any) -> Iterator[Any]:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

    with tracer.start_as_current_span(
        name, context=parent, attributes={f"podfleet.{k}": v for k, v in attributes.items()},
        # The text of an adapter's error may hold the key, so a span has its name alone.
        record_exception=False, set_status_on_exception=False,
    ) as made:  # fmt: skip
        try:
            yield made
        except BaseException as exc:
            made.set_status(Status(StatusCode.ERROR, type(exc).__name__))
            raise
