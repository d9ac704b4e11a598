"""One switch stops everything, whatever is broken, and one undo brings back what was before."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from fleet import stopping
from fleet.alerts import reconciling
from fleet.decision.values import Mode
from fleet.models import Alert, Fleet, Limits
from fleet.operating import EditedMeanwhile
from fleet.tick import scheduling, ticking
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Orphan, Pod
from pods.states import BOOTING, READY, REQUESTED, STOPPED, TERMINATED
from tests.support.factories import a_fleet, a_pod
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db
NOWHERE = "redis://127.0.0.1:1/0"


def modes() -> dict[str, str]:
    return dict(Fleet.objects.values_list("name", "mode"))


def test_a_stop_ends_the_pods_of_all_fleets_and_the_undo_leaves_their_modes(
    time: SteppedClock, settings: Any
) -> None:
    settings.REDIS_URL = NOWHERE
    fleets = [a_fleet(name="runs"), a_fleet(name="waits", mode="paused")]
    for fleet in fleets:
        for state in (REQUESTED, BOOTING, READY, STOPPED):
            a_pod(fleet, state)
    assert stopping.stop_everything(by="ann")
    for fleet in fleets:
        ticking.tick_fleet(fleet.pk)
    assert set(Pod.objects.values_list("state", flat=True)) == {"failed", "terminating", "draining"}
    assert modes() == {"runs": "running", "waits": "paused"}
    limits = Limits.get()
    assert (limits.mode, limits.mode_by, limits.mode_at) == ("stop_all", "ann", clock.utcnow())
    time.advance(60)
    assert stopping.undo_stop(limits, by="bob") is Mode.RUNNING
    assert modes() == {"runs": "running", "waits": "paused"}
    limits = Limits.get()
    assert (limits.mode, limits.mode_by, limits.mode_at) == ("running", "bob", clock.utcnow())
    reasons = [h.history_change_reason for h in limits.history.order_by("history_id")]
    assert reasons[-2:] == ["stopped everything, by ann", "undid the stop of everything, by bob"]


@pytest.mark.parametrize(("before", "after"), [("paused", Mode.PAUSED), ("running", Mode.RUNNING)])
def test_the_undo_brings_back_the_mode_from_before_also_after_a_second_stop(
    before: str, after: Mode
) -> None:
    stopping.set_limits({"mode": before}, by="ann")
    assert stopping.stop_everything(by="ann")
    first = Limits.get()
    assert not stopping.stop_everything(by="bob")
    assert Limits.get().mode_by == "ann"
    assert Limits.get().version == first.version
    assert stopping.undo_stop(Limits.get(), by="ann") is after
    with pytest.raises(ValidationError, match="nothing is stopped"):
        stopping.undo_stop(Limits.get(), by="ann")


def test_what_was_before_a_stop_of_an_older_version_is_not_known_so_nothing_starts() -> None:
    Limits.made()
    Limits.objects.update(mode="stop_all")
    assert stopping.undo_stop(Limits.get(), by="ann") is Mode.PAUSED


def test_an_undo_of_an_old_look_does_not_undo_a_new_stop() -> None:
    stopping.stop_everything(by="ann")
    seen = Limits.get()
    stopping.undo_stop(seen, by="bob")
    stopping.stop_everything(by="cat")
    with pytest.raises(EditedMeanwhile):
        stopping.undo_stop(seen, by="bob")
    assert (Limits.get().mode, Limits.get().mode_by) == ("stop_all", "cat")


@pytest.mark.parametrize(
    "broken",
    [
        {"backlog_url": NOWHERE},
        {"backlog_url": "gopher://x"},
        {"results": "embedding_tasks"},
        {"offer_query": {"gpu_types": 7, "regions": "here"}},
        {"offer_query": ["nonsense"]},
        {"handler": "", "image": "", "handler_env": []},
        {"silent_seconds": 1},
    ],
    ids="-".join,
)
def test_a_stop_ends_the_pods_of_a_fleet_that_is_broken(
    broken: dict[str, Any], time: SteppedClock, settings: Any
) -> None:
    settings.REDIS_URL = NOWHERE
    fleet = a_fleet()
    pod = a_pod(fleet, READY, redis_url=NOWHERE)
    Fleet.objects.filter(pk=fleet.pk).update(**broken)
    stopping.stop_everything(by="ann")
    assert ticking.tick_fleet(fleet.pk) is not None
    pod.refresh_from_db()
    assert pod.state == "draining"


def test_a_limit_that_is_set_meanwhile_ends_no_stop() -> None:
    stopping.stop_everything(by="ann")
    assert stopping.set_limits({"max_instances": 3}, by="bob")
    assert not stopping.set_limits({"max_instances": 4, "mode": "running"}, by="bob")
    limits = Limits.get()
    assert (limits.mode, limits.max_instances, limits.mode_by) == ("stop_all", 4, "ann")
    with pytest.raises(ValidationError, match="Stop everything"):
        stopping.set_limits({"mode": "stop_all"}, by="bob")
    assert stopping.undo_stop(Limits.get(), by="ann") is Mode.RUNNING


def test_what_a_stop_does_not_reach_is_counted() -> None:
    ticked, alone, archived = a_fleet(name="a"), a_fleet(name="b"), a_fleet(name="c")
    for fleet in (ticked, alone, alone):
        a_pod(fleet, READY)
    a_pod(archived, TERMINATED)
    a_pod(ticked, STOPPED, hourly_usd=Decimal(9), stopped_hourly_usd=Decimal("0.25"))
    scheduling.switch(alone, on=False)
    now = clock.utcnow()
    values = {"account": ticked.accounts.get(), "first_seen_at": now, "last_seen_at": now}
    Orphan.objects.create(external_id="m-1", name="x", **values)
    Orphan.objects.create(external_id="m-2", name="y", gone_at=now, **values)
    found = stopping.reach()
    assert (found.pods, found.fleets, found.hourly_usd) == (4, 2, Decimal("1.75"))
    assert (found.unticked, found.orphans) == (("b",), 1)


def test_fleets_on_which_nothing_has_decided_lately_are_named(time: SteppedClock) -> None:
    ticked, late = a_fleet(name="ticked"), a_fleet(name="late")
    for fleet in (ticked, late):
        a_pod(fleet, READY)
        ticking.tick_fleet(fleet.pk)
    assert stopping.reach().undecided == ()
    time.advance(60)
    ticking.tick_fleet(ticked.pk)
    assert stopping.reach().undecided == ("late",)
    said = run("stop-everything")
    assert "drain and are destroyed with the next decision" in said
    assert "nothing has decided lately on late: " in said


def test_an_alert_says_who_stopped_everything_and_when_until_it_is_undone(
    time: SteppedClock,
) -> None:
    stopping.stop_everything(by="ann")
    time.advance(60)
    reconciling.reconcile_alerts()
    [alert] = Alert.objects.open()
    assert (alert.cause, alert.severity, alert.fleet_id) == ("stopped", "warning", None)
    assert "stopped since 2026-11-23 12:00:00 UTC by ann" in alert.text
    stopping.undo_stop(Limits.get(), by="ann")
    reconciling.reconcile_alerts()
    assert not Alert.objects.open().exists()


def test_the_commands_stop_everything_and_undo_that(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet, READY)
    said = run("stop-everything")
    assert "everything is stopped since" in said
    assert "1 pod ($0.50/h) drains and is destroyed\n" in said
    assert "nothing changed: everything is stopped since" in run("stop-everything")
    run("list")
    assert "everything is stopped since" in " ".join(capsys.readouterr().out.split())
    assert "until `fleet undo-stop`" in run("resume", "emb")
    answer = json.loads(run("undo-stop", "--json"))
    assert (answer["mode"], answer["pods"]) == ("running", 1)
    assert Decimal(answer["hourly_usd"]) == Decimal("0.5")
    with pytest.raises(CommandError, match="nothing is stopped"):
        run("undo-stop")
    assert timedelta(0) <= clock.utcnow() - Limits.get().mode_at < timedelta(minutes=5)  # type: ignore[operator]
