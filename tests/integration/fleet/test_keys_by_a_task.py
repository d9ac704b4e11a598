"""The task that renews short-lived keys: its claims, its death at each line, and stores that misbehave."""

import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.db import connection
from django_celery_beat.models import PeriodicTask

from config import celery_app
from config.env import ROOT
from fleet import keeping_secrets, operating, tasks
from fleet.alerts import reconciling
from fleet.models import Alert, Fleet, IssuedKeys
from fleet.secrets import issuing, renewing, sts
from fleet.tick import ticking
from pods.agent.protocol import Keys
from tests.support.factories import a_fleet
from tests.support.fixtures import client as client
from tests.support.programs import command
from tests.support.sts_server import (
    ACCESS,
    DENIED,
    DRIPS_BODY,
    DRIPS_HEAD,
    EMPTY,
    NOT_XML,
    SECRET,
    SILENT,
    WRONG_KEY,
    StsServer,
    sts_server,
)
from tests.support.waiting import patience

pytestmark = pytest.mark.django_db
ROLE = "arn:aws:iam::123456789012:role/pods"
SHORT_SECONDS = 0.4  # for one call, in tests of stores that never end


@pytest.fixture
def server() -> Iterator[StsServer]:
    with sts_server() as made:
        yield made


@pytest.fixture
def fleet(redis_url: str, server: StsServer, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    for name in issuing.LONG_LIVED:
        monkeypatch.delenv(name, raising=False)
    return with_role("emb", server)


def with_role(name: str, server: StsServer) -> Fleet:
    made: Fleet = a_fleet(name=name, stream=name, group=name)
    operating.make_group(made)
    values = {
        "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL_STS": server.url, "AWS_ASSUME_ROLE_ARN": ROLE,
    }  # fmt: skip
    for secret, value in values.items():
        keeping_secrets.set_secret(made, secret, value, by="ann")
    return made


def of_pods(client: "redis.Redis", name: str = "emb") -> str:
    """The access key that a fleet's pods have; "": none."""
    found = client.hget(Keys(name).secrets, "env:AWS_ACCESS_KEY_ID")
    return found.decode() if isinstance(found, bytes) else ""


def older(**by: float) -> None:
    """Let so much time pass for all that the rows say."""
    step = timedelta(**by)
    for row in IssuedKeys.objects.all():
        for name in ("issued_at", "expires_at", "failed_at", "failing_since", "asked_at"):
            if (at := getattr(row, name)) is not None:
                setattr(row, name, at - step)
        row.save()


def alert() -> str:
    reconciling.reconcile_alerts()
    rows = Alert.objects.open().filter(cause="keys_not_issued")
    return "; ".join(f"{row.severity}: {row.text}" for row in rows)


def test_beat_sends_the_task_each_minute_to_the_queue_of_the_messages() -> None:
    row = PeriodicTask.objects.get(task="fleet.issue_keys")
    assert row.interval is not None
    assert row.interval.schedule.run_every == timedelta(minutes=1)
    assert row.enabled
    task = tasks.issue_keys
    assert celery_app.conf.task_routes[task.name] == {"queue": "notify"}
    assert timedelta(seconds=task.time_limit) < issuing.LEASE
    longest = renewing.LONGEST_WITH_REDIS.total_seconds() + sts.LONGEST_SECONDS
    assert longest < task.soft_time_limit


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", ["answered", "written"])
def test_a_kill_loses_no_keys_and_gives_pods_none_that_no_row_has(
    fleet: Fleet, server: StsServer, client: "redis.Redis", place: str
) -> None:
    before, count = of_pods(client), len(server.issued)
    older(minutes=31)
    connection.close()
    died = subprocess.run(command("renew_keys", place), cwd=ROOT, timeout=patience(60), check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(server.issued) == count + 1
    assert of_pods(client) == before  # they are valid for half of their life
    if place == "written":
        assert renewing.renew_keys() == 0  # the row has them
        ticking.tick_fleet(fleet.pk)
    else:
        assert IssuedKeys.objects.get().asked_wish
        assert renewing.renew_keys() == 0  # the dead one has the claim
        ticking.tick_fleet(fleet.pk)
        assert of_pods(client) == before
        older(seconds=issuing.LEASE.total_seconds() + 1)
        assert renewing.renew_keys() == 1
    assert of_pods(client) == f"ASIAISSUED{len(server.issued)}"
    row = IssuedKeys.objects.get()
    assert (row.asked_at, row.asked_wish, row.error) == (None, "", "")
    assert alert() == ""


def test_two_runs_at_the_same_time_ask_once(fleet: Fleet, server: StsServer) -> None:
    older(minutes=31)
    count = len(server.issued)
    request = issuing.claimed(fleet)
    assert request is not None
    assert renewing.renew_keys() == 0
    issuing.renew_if_due(fleet)
    assert issuing.record(request, issuing.asked(request))
    assert renewing.renew_keys() == 0
    assert len(server.issued) == count + 1


def test_who_asks_for_another_role_does_not_wait_and_its_answer_counts(
    fleet: Fleet, server: StsServer, client: "redis.Redis"
) -> None:
    older(minutes=31)
    slow = issuing.claimed(fleet)
    assert slow is not None
    late = issuing.asked(slow)
    keeping_secrets.set_secret(fleet, "AWS_ASSUME_ROLE_ARN", f"{ROLE}2", by="ann")
    assert server.asked[-1]["RoleArn"] == f"{ROLE}2"
    have = of_pods(client)
    assert have == f"ASIAISSUED{len(server.issued)}"
    assert not issuing.record(slow, late)
    ticking.tick_fleet(fleet.pk)
    assert of_pods(client) == have


def test_a_role_that_is_removed_while_sts_is_asked_leaves_no_row(
    fleet: Fleet, server: StsServer, client: "redis.Redis"
) -> None:
    older(minutes=31)
    for fault in ("", DENIED):
        server.fault = fault
        request = issuing.claimed(fleet)
        assert request is not None
        answer = issuing.asked(request)
        keeping_secrets.remove_secret(fleet, "AWS_ASSUME_ROLE_ARN", by="ann")
        assert not issuing.record(request, answer)
        assert not IssuedKeys.objects.exists()
        assert of_pods(client) == ACCESS
        keeping_secrets.set_secret(fleet, "AWS_ASSUME_ROLE_ARN", ROLE, by="ann")
        older(minutes=31)


@pytest.mark.parametrize("fault", [SILENT, DRIPS_HEAD, DRIPS_BODY])
def test_an_answer_that_never_ends_is_left_after_a_while(
    fleet: Fleet,
    server: StsServer,
    client: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    have = of_pods(client)
    monkeypatch.setattr(sts, "LONGEST_SECONDS", SHORT_SECONDS)
    older(minutes=61)
    server.fault = fault
    began = time.monotonic()
    assert renewing.renew_keys() == 0
    assert time.monotonic() - began < patience(SHORT_SECONDS + 2)
    assert "gave no whole answer within 0.4 s" in alert()
    asked = len(server.asked)
    ticking.tick_fleet(fleet.pk)  # it asks nobody
    assert (len(server.asked), of_pods(client)) == (asked, have)


def test_a_store_that_hangs_holds_up_no_other_fleet(
    fleet: Fleet, server: StsServer, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "AT_ONCE", 2)
    with sts_server() as hanging:
        others = [with_role(f"other-{n}", hanging) for n in range(5)]
        monkeypatch.setattr(sts, "LONGEST_SECONDS", SHORT_SECONDS)
        hanging.fault = SILENT
        older(minutes=31)
        IssuedKeys.objects.filter(fleet__in=others).update(failed_at="2026-01-01T00:00:00Z")
        when: list[float] = []
        server.meanwhile = lambda: when.append(time.monotonic())
        began = time.monotonic()
        # the time of the run ends after some of the others: the next run asks for the rest
        assert renewing.renew_keys(longest=timedelta(seconds=SHORT_SECONDS)) == 1
        assert when[0] - began < patience(SHORT_SECONDS)
        assert of_pods(client) == f"ASIAISSUED{len(server.issued)}"
        tried = len(hanging.asked)
        renewing.renew_keys()
        assert len(hanging.asked) > tried
        failed = IssuedKeys.objects.exclude(error="")
        assert {row.fleet for row in failed} == set(others)


@pytest.mark.parametrize("fault", [NOT_XML, EMPTY])
def test_an_answer_without_keys_is_said_and_tried_again(
    fleet: Fleet, server: StsServer, client: "redis.Redis", fault: str
) -> None:
    have = of_pods(client)
    older(minutes=61)
    server.fault = fault
    assert renewing.renew_keys() == 0
    assert "answered without keys or without their end; it must answer as STS" in alert()
    assert of_pods(client) == have
    server.fault = ""
    older(minutes=1)
    assert renewing.renew_keys() == 1
    assert alert() == ""


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "RequestExpired"])
def test_a_wrong_clock_is_said_to_be_the_clocks_fault(
    fleet: Fleet, server: StsServer, code: str
) -> None:
    older(minutes=61)
    server.ahead, server.late_code = timedelta(minutes=20), code
    assert renewing.renew_keys() == 0
    text = alert()
    assert "refuses: the manager's clock is 20 min behind the store's; set the clock" in text
    assert f"HTTP 403: {code} Signature expired" in text
    assert "AWS_SECRET_ACCESS_KEY" not in text


def test_a_wrong_secret_key_is_not_said_to_be_the_clocks_fault(
    fleet: Fleet, server: StsServer
) -> None:
    older(minutes=61)
    server.fault = WRONG_KEY
    assert renewing.renew_keys() == 0
    text = alert()
    assert "refuses: AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID (HTTP 403" in text
    assert "clock" not in text


def test_after_an_hour_without_beat_the_next_run_gives_keys(
    fleet: Fleet, client: "redis.Redis"
) -> None:
    older(hours=1, seconds=1)
    assert "critical: " in (said := alert())
    assert "nobody has asked for others" in said
    assert renewing.renew_keys() == 1
    assert of_pods(client) == "ASIAISSUED2"
    assert alert() == ""


def test_a_fault_of_one_fleet_leaves_the_others_their_turn(
    fleet: Fleet, server: StsServer, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_role("other", server)
    older(minutes=31)
    ask = issuing.claimed

    def fails(of: Fleet) -> issuing.Request | None:
        if of == fleet:
            raise RuntimeError("a fault of ours")
        return ask(of)

    monkeypatch.setattr(issuing, "claimed", fails)
    assert renewing.renew_keys() == 1
    assert of_pods(client, other.name) == f"ASIAISSUED{len(server.issued)}"
