"""System checks that find at start what the operator must fix."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def celery_does_not_overwrite_the_schedule(**_options: Any) -> list[CheckMessage]:
    """Refuse CELERY_BEAT_SCHEDULE: it would overwrite the schedules that operators edit."""
    if getattr(settings, "CELERY_BEAT_SCHEDULE", None):
        return [
            Error(
                "CELERY_BEAT_SCHEDULE is set: it overwrites the schedule in the admin at every start",
                hint="Remove it; edit the periodic tasks in the admin.",
                id="podfleet.E001",
            )
        ]
    return []


@register()
def tasks_end_before_they_are_delivered_again(**_options: Any) -> list[CheckMessage]:
    """Refuse a task time limit at which a task could outlive its message or claim, and run twice."""
    visible = settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
    claim = settings.CLAIM_LEASE.total_seconds()
    limit = settings.CELERY_TASK_TIME_LIMIT
    if limit >= min(visible, claim):
        return [
            Error(
                f"the task time limit ({limit} s) is not below the visibility timeout ({visible} s) "
                f"and the claim lease ({claim:g} s)",
                hint="Lower CELERY_TASK_TIME_LIMIT.",
                id="podfleet.E002",
            )
        ]
    return []


@register(deploy=True)
def production_uses_real_services(**_options: Any) -> list[CheckMessage]:
    """Warn if production uses the embedded services, which are for one machine."""
    if settings.EMBEDDED_REDIS:
        return [
            Warning(
                "REDIS_URL is not set: the embedded server is used",
                hint="Set REDIS_URL and DATABASE_URL, and PODFLEET_PRODUCTION=1.",
                id="podfleet.W001",
            )
        ]
    return []


@register()
def the_authority_of_redis_can_be_read(**_options: Any) -> list[CheckMessage]:
    """Warn if the file that pods trust is missing: no pod would start. `prepare` may write it later."""
    file = settings.REDIS_CA
    if not file or Path(file).is_file():
        return []
    return [
        Warning(
            f"PODFLEET_REDIS_CA names {file}, which is not there",
            hint="Run `manage.py prepare --public-redis`, or name the file with the authority's PEM.",
            id="podfleet.W002",
        )
    ]
