"""The page that Prometheus reads, with every metric that there is."""

from decimal import Decimal
from typing import Any

from django.test import Client
from django.utils.timezone import now
from django_celery_beat.models import PeriodicTask

from fleet.models import Balance, Fleet, FleetForecast, Limits, Tick
from fleet.pages import counted_metrics
from pods.base import counters
from tests.support.factories import a_batch, a_fleet, a_pod, an_account, an_alert

TOKEN = "a-token-of-prometheus"


def scraped(sent: str = f"Bearer {TOKEN}") -> Any:
    return Client().get("/metrics", headers={"Authorization": sent})


def decided(fleet: Fleet, **values: Any) -> Tick:
    facts = {"depth": 41_800, "active": 3, "desired": 56, "target": 3, "binding": "max_instances"}
    return Tick.objects.create(fleet=fleet, at=now(), token=1, sentence="held", **facts | values)


def full_page() -> str:
    """The page of an installation in which nothing is unknown."""
    account = an_account()
    fleet = a_fleet(
        accounts=[account], max_hourly_usd=1, daily_budget_usd=1, total_budget_usd=Decimal(1)
    )
    ceilings = {"max_instances": 9, "max_hourly_usd": 9, "daily_budget_usd": 9}
    Limits.objects.update_or_create(pk=1, defaults=ceilings)
    decided(fleet, oldest_seconds=1.0)
    done = {"likely_at": now(), "sure_at": now(), "drain_by": now(), "on_time": 1.0}
    FleetForecast.objects.create(fleet=fleet, at=now(), **done)
    a_pod(fleet)
    an_alert(fleet)
    a_batch(fleet)
    PeriodicTask.objects.filter(task="pods.sweep").update(last_run_at=now())
    Balance.objects.create(account=account, at=now(), usd=1, booked_micros=0)
    counters.called(account.pk, "create", "ok", 0.5)
    counters.count("decisions", str(fleet.pk), "")
    for kind in counted_metrics.DURATIONS:
        counters.took(kind, 1.0, "local")
    text: str = scraped().content.decode()
    return text
