"""Traces of the manager: tick, spawn, call to a vendor. They are off by default.

PODFLEET_TRACES=1 switches them on, if the packages of the extra `otel` are there. The exporter is
configured by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from contextlib import AbstractContextManager
from typing import Any, Final

import structlog
from celery.signals import (
    beat_init,
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from django.conf import settings

from pods.base import tracing

log = structlog.get_logger(__name__)
_running: dict[str, AbstractContextManager[Any]] = {}
_own: dict[str, Any] = {}
FLUSH_MS: Final = 2000


def begin(**_kwargs: object) -> None:
    """Switch the traces on in this process, if they are wanted. A child of a worker does it anew.

    A tracer that is there already, as under `opentelemetry-instrument`, is used as it is.
    """
    if not settings.TRACES:
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
    except ImportError:
        log.warning("traces_are_off", because="install the packages of the extra otel")
        return
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = _own_provider()
    tracing.start(provider.get_tracer("podfleet"))


def _own_provider() -> Any:
    """A provider that sends spans by OTLP over HTTP; one that drops them without the SDK."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        from opentelemetry.trace import NoOpTracerProvider  # noqa: PLC0415

        log.warning("traces_are_dropped", because="opentelemetry-sdk is not installed")
        return NoOpTracerProvider()
    provider = TracerProvider(resource=Resource.create({"service.name": "podfleet"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _own["provider"] = provider
    return provider


def end(**_kwargs: object) -> None:
    """Send what is left: a child of a worker ends without what Python does at its end."""
    if (provider := _own.get("provider")) is not None:
        provider.force_flush(FLUSH_MS)


def connect() -> None:
    """Let Celery carry the spans from who sends a task to who runs it."""
    for signal in (beat_init, worker_process_init, worker_ready):
        signal.connect(begin)
    worker_process_shutdown.connect(end)
    before_task_publish.connect(_sent)
    task_prerun.connect(_runs)
    task_postrun.connect(_ran)


def _sent(headers: dict[str, Any], **_kwargs: object) -> None:
    tracing.write_context(headers)


def _runs(task_id: str, task: Any, args: Any, **_kwargs: object) -> None:
    if not tracing.is_on():
        return
    parent = getattr(task.request, "traceparent", None)
    ids = {"id": args[0]} if args and isinstance(args[0], int) else {}
    span = tracing.span_of_task(task.name, {"traceparent": parent} if parent else {}, **ids)
    span.__enter__()
    _running[task_id] = span


def _ran(task_id: str, retval: object = None, **_kwargs: object) -> None:
    if (span := _running.pop(task_id, None)) is not None:
        error = retval if isinstance(retval, BaseException) else None
        span.__exit__(type(error) if error else None, error, None)
