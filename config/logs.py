"""The format of log events: structlog, for people or as JSON, without secrets."""

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

from pods.masking import IN_QUERY, SECRET_NAME

# The user of an address stays: it says which pod it was.
SECRET_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/\s]+(?=@)")
# A client token names a pod and gives no access.
NOT_SECRET = frozenset({"client_token", "task_key", "offer_key", "key_count"})

Event = MutableMapping[str, Any]


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Remove passwords from URLs, and the values of fields with a secret's name."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: Any, value: Any) -> Any:
    if isinstance(name, str) and name not in NOT_SECRET and SECRET_NAME.search(name):
        return "**"
    if isinstance(value, str):
        return IN_QUERY.sub(r"\1**", SECRET_IN_URL.sub(r"\1:**", value))
    if isinstance(value, BaseException):
        return _redacted("", repr(value))
    if isinstance(value, dict):
        return {inner: _redacted(inner, of) for inner, of in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", of) for of in value]
    return value


SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,
)


def logging_config(*, json: bool, level: str) -> dict[str, Any]:
    """The logging configuration of Django and Celery. Configures structlog too."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structlog": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    renderer,
                ],
                "foreign_pre_chain": list(SHARED),
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structlog"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "django_celery_beat": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "django.utils.autoreload": {"level": "WARNING"},
        },
    }
