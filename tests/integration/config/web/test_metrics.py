"""Prometheus reads the state of the fleets with a token, in a number of queries that does not grow."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from django_celery_beat.models import PeriodicTask
from prometheus_client.parser import text_string_to_metric_families

from config.celery import App
from config.env import ROOT
from fleet import stopping
from fleet.models import Balance, Fleet, Tick
from fleet.tick import ticking
from pods.base import counters
from pods.base.redis import redis_client
from pods.models import Pod
from pods.states import PodState
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.metrics_page import TOKEN, decided, full_page, scraped

pytestmark = pytest.mark.django_db
Samples = dict[tuple[str, ...], float]


@pytest.fixture(autouse=True)
def token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def samples() -> Samples:
    """Each value by the name of its metric and the values of its labels."""
    families = text_string_to_metric_families(scraped().content.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_without_the_token_nothing_is_shown(sent: str) -> None:
    answer = scraped(sent)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert "podfleet_" not in answer.content.decode()


def test_an_installation_without_a_token_shows_nothing_to_anybody(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    for sent in ("Bearer ", f"Bearer {TOKEN}"):
        answer = scraped(sent)
        assert (answer.status_code, "PODFLEET_METRICS_TOKEN" in answer.content.decode()) == (
            403,
            True,
        )


def test_a_fleet_is_shown_with_its_health_pods_items_and_money() -> None:
    fleet = a_fleet(name="emb", max_instances=3, daily_budget_usd=Decimal(10))
    tick = decided(fleet, oldest_seconds=12.5, spent_today_usd=Decimal("1.5"))
    a_pod(fleet, state=PodState.READY, hourly_usd=Decimal("0.4"), rate=8.5, done=70, done_before=30)
    a_pod(fleet, state=PodState.BOOTING, hourly_usd=Decimal("0.6"))
    a_pod(fleet, state=PodState.TERMINATED, done=5, dead=2, failed=9)
    found = samples()
    assert found["podfleet_fleet_health", "emb", "working"] == 1
    assert len([key for key in found if key[0] == "podfleet_fleet_health"]) == 1
    assert found["podfleet_backlog_items", "emb"] == 41_800
    assert found["podfleet_oldest_item_seconds", "emb"] == 12.5
    assert found["podfleet_pods", "emb", "ready"] == found["podfleet_pods", "emb", "booting"] == 1
    assert ("podfleet_pods", "emb", "draining") not in found
    assert (found["podfleet_desired_pods", "emb"], found["podfleet_target_pods", "emb"]) == (56, 3)
    assert found["podfleet_held_by", "emb", "max_instances"] == 1
    assert found["podfleet_items_done_total", "emb"] == 105
    assert found["podfleet_hourly_usd", "emb"] == pytest.approx(1.0)
    assert found["podfleet_spent_today_usd", "emb"] == pytest.approx(1.5, abs=0.01)
    assert found["podfleet_daily_budget_usd", "emb"] == 10
    assert found["podfleet_last_decision_timestamp_seconds", "emb"] == pytest.approx(
        tick.at.timestamp()
    )


def test_what_nobody_knows_is_left_out_and_never_shown_as_zero() -> None:
    fleet = a_fleet(name="emb")
    decided(fleet, depth=None, binding="unknown", items_per_second=None)
    found = samples()
    assert found["podfleet_fleet_health", "emb", "unknown"] == 1
    for name in (
        "backlog_items", "oldest_item_seconds", "hourly_limit_usd", "daily_budget_usd",
    ):  # fmt: skip
        assert (f"podfleet_{name}", "emb") not in found
    assert ("podfleet_installation_max_pods",) not in found
    assert ("podfleet_beat_last_sent_timestamp_seconds",) not in found


def test_beat_the_queues_and_the_stop_of_everything_are_shown(
    redis_url: str, settings: Any
) -> None:
    settings.REDIS_URL = redis_url
    redis_client(redis_url).rpush("vendor", "a task", "another")
    at = now() - timedelta(seconds=90)
    PeriodicTask.objects.update(last_run_at=None)
    task = PeriodicTask.objects.filter(task="pods.sweep").first()
    assert task is not None
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=at)
    assert samples()["podfleet_installation_stopped",] == 0
    stopping.stop_everything(by="ann")
    found = samples()
    assert found["podfleet_installation_stopped",] == found["podfleet_redis_up",] == 1
    assert (found["podfleet_queue_tasks", "vendor"], found["podfleet_queue_tasks", "control"]) == (
        2,
        0,
    )
    assert found["podfleet_beat_last_sent_timestamp_seconds",] == pytest.approx(at.timestamp())


def test_the_fleets_are_shown_also_while_redis_is_away(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9"
    a_fleet(name="emb")
    found = samples()
    assert found["podfleet_redis_up",] == 0
    assert ("podfleet_fleet_health", "emb", "starting") in found
    assert not [key for key in found if key[0] == "podfleet_queue_tasks"]


def test_decisions_calls_and_durations_are_counted_in_redis(redis_url: str, settings: Any) -> None:
    settings.REDIS_URL = redis_url
    account = an_account(name="main")
    fleet = a_fleet(name="emb", accounts=[account], total_budget_usd=Decimal(50))
    Fleet.objects.update(dead_letters=3)
    a_pod(fleet, state=PodState.FAILED, failed_at=now())
    Balance.objects.create(account=account, at=now(), usd=Decimal("12.5"), booked_micros=0)
    for _ in range(2):
        ticking.tick_fleet(fleet.pk)
    rule = Tick.objects.values_list("binding", flat=True).latest("pk") or "none"
    counters.called(account.pk, "create", "ok", 0.5)
    counters.called(account.pk, "create", "NoCapacity", 0.25)
    counters.called(account.pk + 1, "create", "ok", 1)  # of an account that is gone
    for seconds in (4.0, 5.0, 5.5, 9999.0):
        counters.took("boot", seconds, "runpod")
    found = samples()
    assert found["podfleet_decisions_total", "emb", rule] == 2
    of_main = ("main", "create", "local")
    assert found["podfleet_provider_calls_total", *of_main, "ok"] == 1
    assert found["podfleet_provider_calls_total", *of_main, "NoCapacity"] == 1
    assert found["podfleet_provider_call_seconds_total", *of_main] == 0.75
    assert len([key for key in found if key[0] == "podfleet_provider_calls_total"]) == 2
    buckets = [found["podfleet_pod_boot_seconds_bucket", le, "runpod"] for le in ("2", "5", "10")]
    assert buckets == [0, 2, 3]
    assert found["podfleet_pod_boot_seconds_bucket", "+Inf", "runpod"] == 4
    assert found["podfleet_pod_boot_seconds_count", "runpod"] == 4
    assert found["podfleet_pod_boot_seconds_sum", "runpod"] == pytest.approx(10013.5)
    assert found["podfleet_dead_letters", "emb"] == 3
    assert found["podfleet_failed_pods_total", "emb"] == 1
    assert found["podfleet_total_budget_usd", "emb"] == 50
    assert found["podfleet_account_balance_usd", "main", "local"] == 12.5
    assert found["podfleet_account_paused", "main", "local"] == 0


def test_a_redis_that_is_away_is_asked_to_count_once_and_then_left_alone(
    redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "_silent_until", {})
    settings.REDIS_URL = "redis://127.0.0.1:9"
    counters.count("decisions", "1", "")
    with monkeypatch.context() as patch:
        patch.setattr(counters, "redis_client", lambda url: pytest.fail(f"{url} was asked again"))
        counters.count("decisions", "1", "")
    settings.REDIS_URL = redis_url  # another one is asked
    counters.count("decisions", "1", "")
    assert counters.read() == {("decisions", "1", ""): 1}


def test_the_age_of_the_oldest_task_is_what_celery_sent_first(
    redis_url: str, settings: Any
) -> None:
    settings.REDIS_URL = redis_url
    app = App("test")
    app.config_from_object(settings.CELERY | {"broker_url": redis_url})
    app.send_task("pods.check", (1,), queue="vendor")
    client = redis_client(redis_url)
    message = json.loads(client.lrange("vendor", 0, 0)[0])
    message["headers"]["podfleet_sent_at"] -= 90
    client.rpush("vendor", json.dumps(message))
    client.hset("unacked", "tag", "a task")
    found = samples()
    assert found["podfleet_queue_tasks", "vendor"] == 2
    assert found["podfleet_queue_oldest_task_seconds", "vendor"] == pytest.approx(90, abs=5)
    assert found["podfleet_queue_oldest_task_seconds", "notify"] == 0
    assert found["podfleet_taken_tasks",] == 1
    client.rpush("vendor", "a message of an older version")
    assert ("podfleet_queue_oldest_task_seconds", "vendor") not in samples()


def test_the_queries_do_not_grow_with_fleets_and_pods() -> None:
    counts = []
    scraped()  # the first one makes the row of the limits
    for number in range(2):
        for each in range(4):
            fleet = a_fleet(name=f"emb-{number}-{each}")
            decided(fleet)
            a_pod(fleet, state=PodState.READY)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            scraped()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20
    assert Pod.objects.count() == 8


def test_each_metric_has_its_row_in_the_page_with_its_labels(redis_url: str, settings: Any) -> None:
    settings.REDIS_URL = redis_url
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = set(re.findall(r"^\| `(podfleet_\w+)`", page, re.MULTILINE))
    families = text_string_to_metric_families(full_page())
    shown = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert rows == shown
