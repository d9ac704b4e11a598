"""Fill the rules' columns from the texts that older versions wrote, and read, instead."""

from collections.abc import Sequence

from django.db import migrations
from django.db.models import Case, Q, Value, When

# What `retire_because` and `lost_because` began with when a health check ended the pod.
FOUND = (
    "never booted",
    "agent failed",
    "agent ended",
    "machine failed",
    "stopped unasked",
    "started unasked",
    "absent",
    "silent",
    "hung",
)
# What a tick wrote before a colon.
DECIDED = (
    "stop_all",
    "paused",
    "max_instances",
    "max_hourly_usd",
    "daily_budget_usd",
    "total_budget_usd",
    "installation_daily_budget",
    "idle",
    "straggler",
    "max_pod_hours",
    "stopped",
    "max_stopped_hours",
)
ERRORS = (
    ("NoCapacity", "no_capacity"),
    ("QuotaExceeded", "quota_exceeded"),
    ("AuthFailed", "auth_failed"),
    ("NotFound", "not_found"),
    ("Refused", "refused"),
    ("Declined", "declined"),
    ("RateLimited", "rate_limited"),
    ("Unavailable", "unavailable"),
    ("BadSecret", "bad_secret"),
    ("CannotConnect", "cannot_connect"),
    ("ValueError", "cannot_connect"),
)
OPERATORS = ("drained by an operator", "stopped by an operator", "destroyed by an operator")
DECLINED = ERRORS[:6]

Rules = Sequence[tuple[Q, str]]


def begins(column: str, words: str) -> Q:
    return Q(**{f"{column}__startswith": words})


def found(column: str) -> Rules:
    return [(begins(column, words), words.replace(" ", "_")) for words in FOUND]


def decided(column: str) -> Rules:
    return [(begins(column, f"{rule}:"), rule) for rule in DECIDED]


def asked_by_people(column: str) -> Rules:
    return [(begins(column, words), "operator") for words in OPERATORS]


def declined(column: str) -> Rules:
    return [
        *((begins(column, f"{name}:"), kind) for name, kind in DECLINED),
        (begins(column, "no machine was created;"), "no_answer"),
        (Q(**{f"{column}__endswith": " belongs to another row"}), "duplicate_machine"),
    ]


def ended() -> Rules:
    """Why a pod ended or is to end; the first that fits."""
    failed, plain = Q(state="failed"), Q(retire_because="")
    return [
        *found("lost_because"),
        *found("retire_because"),
        *decided("retire_because"),
        *asked_by_people("retire_because"),
        (begins("retire_because", "a machine without a row"), "orphan"),
        (begins("retire_because", "cannot be resumed"), "cannot_resume"),
        (begins("retire_because", "did not run after"), "cannot_resume"),
        (~plain, "other"),
        *((failed & q, rule) for q, rule in decided("because")),
        *((failed & q, rule) for q, rule in asked_by_people("because")),
        *((failed & q, rule) for q, rule in declined("because")),
        (failed & Q(because__endswith="nothing was asked of the provider"), "other"),
        (failed & Q(asked_at=None), "cannot_connect"),
        (failed, "refused"),
    ]


def happened() -> Rules:
    """The same of an event; a step of what was decided before has no rule."""
    health, tick, spawn = Q(by="health"), Q(by="tick"), Q(by="spawn")
    failed = spawn & Q(after="failed")
    return [
        *((health & q, rule) for q, rule in found("because")),
        *((tick & q, rule) for q, rule in decided("because")),
        (tick & Q(after__in=["requested", "resuming"]), "wanted"),
        *((failed & q, rule) for q, rule in declined("because")),
        (failed, "refused"),
        (spawn & begins("because", "refused, and bills"), "refused"),
        (Q(by="adopt"), "adopted"),
        (Q(by="reconcile", because="found without a row: adopted"), "adopted"),
        (Q(by="reconcile", because="found without a row: destroyed"), "orphan"),
        (Q(by="resume", after="terminating"), "cannot_resume"),
        *((begins("by", "admin:") & q, rule) for q, rule in asked_by_people("because")),
    ]


def failed() -> Rules:
    return [
        *((begins("last_error", f"{name}:"), kind) for name, kind in ERRORS),
        (~Q(last_error=""), "other"),
    ]


def fill(model, column: str, rules: Rules) -> None:
    """One statement: an installation may have a million events."""
    those = Q()
    for condition, _ in rules:
        those |= condition
    whens = [When(condition, then=Value(rule)) for condition, rule in rules]
    model.objects.filter(those).order_by().update(**{column: Case(*whens, default=Value(""))})


def forwards(apps, _schema_editor) -> None:
    fill(apps.get_model("pods", "Pod"), "retire_rule", ended())
    fill(apps.get_model("pods", "PodEvent"), "rule", happened())
    fill(apps.get_model("pods", "Account"), "last_error_kind", failed())


class Migration(migrations.Migration):
    dependencies = [
        ("pods", "0007_rule_columns"),
    ]

    operations = [
        # Backwards there is nothing to do: the texts are still there.
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
