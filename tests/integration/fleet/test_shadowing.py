"""A shadow reads the recorded ticks of its fleet, decides them with other settings, and does nothing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from fleet import comparing, shadowing
from fleet.decision.what_if import replay
from fleet.models import Fleet, Limits, Shadow, ShadowTick, Tick
from fleet.tick.policies import policy_of
from pods.base.clock import utcnow
from pods.models import Pod
from tests.support.factories import a_fleet, hours
from tests.support.recorded_ticks import PRICE, an_hour

pytestmark = pytest.mark.django_db


def beside(fleet: Fleet, **values: Any) -> Shadow:
    """A shadow that began before the recorded hour."""
    row = shadowing.begin(fleet, values, by="ann")
    Shadow.objects.update(since=utcnow() - hours(2))
    row.refresh_from_db()
    return row


@pytest.fixture
def fleet() -> Fleet:
    return a_fleet(name="emb", target_depth_per_pod=500)


def test_three_pods_beside_one_are_done_sooner_and_nothing_is_rented(fleet: Fleet) -> None:
    an_hour(fleet)
    beside(fleet, max_instances=3, spawn_per_tick=2)
    assert shadowing.go_on() == 1
    row = Shadow.objects.get()
    assert (row.because, row.ticks) == ("", 241)
    assert ShadowTick.objects.count() == 241
    last = ShadowTick.objects.order_by("-at")[0]
    assert [f["most_pods"] for f in (last.live, last.model, last.changed)] == [1, 1, 3]
    assert [f["done"] for f in (last.live, last.model, last.changed)] == [3000, 3000, 3000]
    assert Decimal(last.live["spent_usd"]) == PRICE
    empty = [
        min(t.at for t in ShadowTick.objects.all() if getattr(t, name)["depth"] == 0)
        for name in ("live", "changed")
    ]
    assert empty[0] - empty[1] > timedelta(minutes=20)
    first = ShadowTick.objects.filter(news=True).earliest("at")
    assert "starts 2 pods" in first.sentence
    assert first.live_sentence.startswith("keeps 1 pod")
    assert 0 < row.differed < 241
    assert not Pod.objects.exists()
    assert Fleet.objects.get().max_instances == 1


def test_many_short_runs_find_what_one_long_run_finds(fleet: Fleet) -> None:
    """The models are kept between the runs, and what was kept is what was."""
    an_hour(fleet)
    beside(fleet, max_instances=3)
    shadowing.go_on()
    at_once = list(ShadowTick.objects.order_by("at").values_list("changed", "differs", "sentence"))
    ticks = list(Tick.objects.order_by("at"))
    Tick.objects.all().delete()
    beside(fleet, max_instances=3)
    for n in range(0, len(ticks), 40):
        Tick.objects.bulk_create(ticks[n : n + 40])
        shadowing.go_on()
    in_steps = list(ShadowTick.objects.order_by("at").values_list("changed", "differs", "sentence"))
    assert in_steps == at_once


def test_a_shadow_is_what_if_carried_on(fleet: Fleet) -> None:
    """Both are the same engine on the same ticks."""
    an_hour(fleet)
    beside(fleet, max_instances=3)
    shadowing.go_on()
    ticks, _ = comparing._ticks(fleet, utcnow() - hours(2), utcnow(), 1000)
    course = replay(ticks, lambda policy: replace(policy, max_instances=3))
    last = ShadowTick.objects.order_by("-at")[0]
    assert Decimal(last.changed["spent_usd"]) == pytest.approx(course.spent_usd, abs=Decimal("0.1"))
    assert last.changed["depth"] == course.left


def test_two_runs_at_once_write_each_tick_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run writes between the reading and the writing of this one."""
    an_hour(fleet)
    row = beside(fleet, max_instances=3)
    write = shadowing._write

    def slow(*args: Any) -> None:
        monkeypatch.setattr(shadowing, "_write", write)
        shadowing.go_on_with(Shadow.objects.get(pk=row.pk), utcnow())
        write(*args)

    monkeypatch.setattr(shadowing, "_write", slow)
    shadowing.go_on()
    assert ShadowTick.objects.count() == Shadow.objects.get().ticks == 241


def test_a_run_that_dies_while_it_writes_leaves_nothing_and_the_next_one_does_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour(fleet)
    beside(fleet, max_instances=3)
    with monkeypatch.context() as patched:
        patched.setattr(shadowing, "_moment", lambda *_: 1 / 0)
        shadowing.go_on()
    row = Shadow.objects.get()
    assert (row.reached_at, row.because) == (None, "it failed: ZeroDivisionError")
    shadowing.go_on()
    assert ShadowTick.objects.count() == 241
    assert Shadow.objects.get().because == ""


def test_a_fault_in_one_shadow_stops_no_other(fleet: Fleet) -> None:
    other = a_fleet(name="other", stream="other")
    an_hour(fleet)
    an_hour(other)
    beside(fleet, max_instances=3)
    beside(other, max_instances=3)
    Shadow.objects.filter(fleet=fleet).update(state=b"no state")
    assert shadowing.go_on() == 2
    assert Shadow.objects.get(fleet=fleet).because == "it failed: error"
    assert Shadow.objects.get(fleet=other).because == ""


def test_a_shadow_ends_by_itself_or_by_hand_and_keeps_what_it_found(fleet: Fleet) -> None:
    an_hour(fleet)
    beside(fleet, max_instances=3)
    shadowing.go_on()
    ended = shadowing.end(fleet)
    assert ended is not None
    assert ended.is_over(utcnow())
    assert shadowing.go_on() == 0
    assert ShadowTick.objects.count() == 241
    assert shadowing.end(fleet) is None
    beside(fleet, max_instances=4)
    assert not ShadowTick.objects.exists()


def test_a_cheaper_kind_of_offers_can_be_tried_alone(fleet: Fleet) -> None:
    row = shadowing.begin(fleet, {"offer_query": {"interruptible": True}}, by="ann")
    assert row.changes == {}
    assert row.said == "offer_query={'interruptible': True}"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "name at least one setting"),
        ({"max_instances": 1}, "that is the present value"),
        ({"image": "other:1"}, "no decision depends on it"),
        ({"max_instances": "many"}, "integer"),
        ({"offer_query": {"colour": "red"}}, "colour"),
    ],
)
def test_what_would_be_no_shadow_is_refused(
    fleet: Fleet, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        shadowing.begin(fleet, values, by="ann")
    assert not Shadow.objects.exists()


def test_money_and_times_survive_being_kept(fleet: Fleet) -> None:
    by = utcnow() + hours(9)
    row = shadowing.begin(
        fleet,
        {"goal": "deadline", "drain_by": by, "daily_budget_usd": "12.5", "idle_seconds": 77},
        by="ann",
    )
    row.refresh_from_db()
    rules = shadowing.rules_of(row, None)
    policy = rules.change(policy_of(fleet, Limits.get(), utcnow()))
    assert (policy.drain_by, policy.daily_budget_usd) == (by, Decimal("12.5"))
    assert policy.idle_after == timedelta(seconds=77)
