"""A fleet with a goal, from the fields of its row to the pods that a tick requests."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError

from fleet import operating
from fleet.decision.placement import NOTHING_KNOWN
from fleet.decision.values import Snapshot
from fleet.declarations import exporting
from fleet.declarations.documents import read
from fleet.models import Fleet, Tick
from fleet.tick import aims, ticking
from fleet.tick.recording import replayed
from pods.accounts import connecting, surveying
from pods.agent.protocol import AgentState, Heartbeat
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.emulators.base import SteppedClock
from pods.models import Account
from pods.providers.base import Offer
from pods.states import READY, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account, hours, seconds
from tests.support.fleet_command import run
from tests.support.goals_of_rows import a_market, fill, of_deadline, with_speed

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
YEAR_AHEAD = (utcnow() + timedelta(days=365)).replace(second=0, microsecond=0)


def seen(fleet: Fleet) -> Snapshot:
    return ticking.foresee(Fleet.objects.get(pk=fleet.pk)).seen


def test_a_tick_rents_both_kinds_as_the_deadline_needs(redis_url: str) -> None:
    fleet = of_deadline(accounts=[a_market()])
    with_speed(fleet, 0.001, interruptible=True, hourly_usd=Decimal("0.92"), booted_at=utcnow())
    fill(fleet, redis_url, 100)  # 28 pod-hours
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert [start.offer.key for start in decision.spawn] == ["spot"] * 4
    assert "h to spare" in Tick.objects.get().sentence
    assert replayed(Tick.objects.get().snapshot).offers[-1].key == "firm"
    Fleet.objects.filter(pk=fleet.pk).update(drain_by=utcnow() + hours(3.6))
    urgent = ticking.foresee(Fleet.objects.get(pk=fleet.pk)).decision
    assert {start.offer.key for start in urgent.spawn} == {"firm"}


def test_a_goal_sees_offers_of_each_kind_and_demand_only_the_best(redis_url: str) -> None:
    account = a_market()
    fleet = of_deadline(accounts=[account])
    with_speed(fleet, 1.0)
    kinds = [offer.interruptible for offer in seen(fleet).offers]
    assert kinds == [True] * 8 + [False] * 8
    plain = a_fleet(image="agent:1", accounts=[account], spawn_per_tick=1, stream="plain")
    assert len(seen(plain).offers) == 1
    assert seen(plain).boot_bound is None


def test_the_facts_of_a_goal_come_from_its_pods(redis_url: str) -> None:
    fleet = of_deadline(boot_seconds=600)
    assert seen(fleet).boot_bound == timedelta(seconds=600)
    assert seen(fleet).spot_hourly_usd is None
    ended = utcnow() - hours(1)
    for n in range(3):
        with_speed(
            fleet, 5.0, interruptible=True, hourly_usd=Decimal(n + 1), ended_at=ended,
            booted_at=ended - hours(2),
        )  # fmt: skip
    facts = seen(fleet)
    assert facts.spot_hourly_usd == 1
    assert facts.spot_hours == pytest.approx(6, rel=0.02)
    assert facts.spot_lost == pytest.approx(3, rel=0.02)
    assert facts.usual_items_per_second == pytest.approx(5.0)
    working = a_pod(fleet, READY, interruptible=True, offer_key="mine")
    [pod] = [p for p in seen(fleet).pods if p.pod_id == working.pk]
    assert (pod.interruptible, pod.offer_key) == (True, "mine")


def test_what_lost_pods_did_is_not_taken_for_items_that_are_added(
    redis_url: str, time: SteppedClock
) -> None:
    fleet = of_deadline(left=2, accounts=[an_account()], max_instances=3)
    with_speed(fleet, 10.0)
    fill(fleet, redis_url, 50)
    lost = [a_pod(fleet, TERMINATING, done=500) for _ in range(3)]
    client = redis_client(redis_url)
    last = Heartbeat(state=AgentState.WORKING, rate=10.0, done=1000, uptime_ms=60_000).fields()
    for pod in lost:
        at_ms = client.time()[0] * 1000
        client.hset(connecting.keys(pod).pod(pod.name), mapping={**last, "at_ms": at_ms})
    for _ in range(12):
        ticking.tick_fleet(fleet.pk)
        time.advance(15)
    facts = seen(fleet)
    assert len(facts.pods) == 3
    assert (facts.items_per_second, facts.arrivals_per_second) == (None, None)
    assert "cannot make it" not in Tick.objects.latest("at").sentence


def test_rows_of_a_dataset_that_are_not_written_yet_are_not_taken_for_new_ones() -> None:
    level = [(utcnow() - seconds(15 * n), 5000, 0, 4.0) for n in range(20)]
    rows = aims.facts_of_goal(of_deadline(), utcnow(), [], level, NOTHING_KNOWN, of_dataset=True)
    items = aims.facts_of_goal(of_deadline(), utcnow(), [], level, NOTHING_KNOWN)
    assert (rows["arrivals_per_second"], items["arrivals_per_second"]) == (None, 4.0)


def test_a_survey_remembers_since_when_an_offer_has_stood(redis_url: str) -> None:
    offer = Offer(key="o", hourly_usd=Decimal(1))
    now = utcnow()
    stored = {**surveying.packed(offer), surveying.SINCE: (now - hours(3)).isoformat()}
    account = an_account("local", offers=[stored], surveyed_at=now - timedelta(minutes=1))
    [before] = surveying.known_offers([account])
    assert before.stood_for(offer) == hours(3) - timedelta(minutes=1)
    surveying.survey_account(account, connect=lambda _: OneOffer(offer))  # type: ignore[arg-type,return-value]
    [after] = surveying.known_offers([Account.objects.get(pk=account.pk)])
    stood = after.stood_for(offer)
    assert stood is not None
    assert stood > hours(2.9)


class OneOffer:
    """A provider with one offer."""

    def __init__(self, offer: Offer) -> None:
        from pods.providers.base import Capabilities

        self.capabilities = Capabilities()
        self._offer = offer

    def offers(self, _query: Any) -> list[Offer]:
        return [self._offer]


def test_a_deadline_that_cannot_be_kept_is_refused_when_it_is_saved(redis_url: str) -> None:
    fleet = a_fleet(image="agent:1", accounts=[a_market()], max_instances=2)
    with_speed(fleet, 0.001)
    fill(fleet, redis_url, 100)  # 28 pod-hours
    soon = {"goal": "deadline", "drain_by": (utcnow() + hours(5)).isoformat()}
    with pytest.raises(ValidationError) as raised:
        operating.edit(fleet, soon, by="ann")
    said = " ".join(raised.value.message_dict["drain_by"])
    assert "cannot make it: needs 6 pods, cap 2; 13.9 h left to do, 5.0 h to go" in said
    assert "Allow 6 pods, or set Done by to" in said
    fleet.refresh_from_db()
    assert fleet.goal == "demand"
    operating.edit(fleet, {**soon, "max_instances": 8}, by="ann")
    # a lower limit afterwards is never refused: it may be urgent
    operating.edit(fleet, {"max_instances": 1}, by="ann")


@pytest.mark.parametrize(
    ("values", "field", "word"),
    [
        ({"goal": "deadline"}, "drain_by", "is empty, and the goal deadline needs it"),
        ({"goal": "budget"}, "budget_usd", "is empty, and the goal budget needs it"),
        ({"goal": "deadline", "drain_by": "2026-12-04T18:00"}, "drain_by", "has no zone"),
        ({"goal": "deadline", "drain_by": "2020-01-01T00:00Z"}, "drain_by", "is over"),
        (
            {"drain_by": "9999-12-31T23:59-12:00"},
            "drain_by",
            "is too far ahead; give a moment before",
        ),
        (
            {"drain_by": "0001-01-01T00:00+12:00"},
            "drain_by",
            "is too long ago; give a moment after",
        ),
        (
            {
                "goal": "deadline",
                "drain_by": f"{YEAR_AHEAD:%FT%H:%M}Z",
                "offer_query": {"interruptible": True},
            },
            "goal",
            "a deadline needs offers on demand",
        ),
    ],
)
def test_what_a_goal_needs_is_said_at_its_field(
    redis_url: str, values: dict[str, Any], field: str, word: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        operating.edit(a_fleet(), values, by="ann")
    assert word in " ".join(raised.value.message_dict[field])


def test_a_budget_counts_from_when_its_goal_was_set(redis_url: str) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, hourly_usd=Decimal(2), requested_at=utcnow() - hours(3))
    operating.edit(fleet, {"goal": "budget", "budget_usd": Decimal(90)}, by="ann")
    fleet.refresh_from_db()
    began = fleet.budget_from_usd
    operating.edit(fleet, {"budget_usd": Decimal(120)}, by="ann")
    fleet.refresh_from_db()
    assert fleet.budget_from_usd == began


def test_the_command_line_and_files_set_a_goal(redis_url: str) -> None:
    run("create", "emb", "--handler", "a:b", "--stream", "emb", "--goal", "deadline",
        "--drain-by", f"{YEAR_AHEAD:%FT%H:%M}+01:00")  # fmt: skip
    fleet = Fleet.objects.get(name="emb")
    assert fleet.drain_by == YEAR_AHEAD - hours(1)
    with pytest.raises(CommandError, match="has no zone"):
        run("set", "emb", "--drain-by", f"{YEAR_AHEAD:%FT%H:%M}")
    for text, is_yaml in (
        (exporting.as_toml(exporting.export([fleet])), False),
        (exporting.as_yaml(exporting.export([fleet])), True),
    ):
        [declared] = read(text, is_yaml=is_yaml, environment={})
        assert declared.fields["drain_by"] == fleet.drain_by
        assert declared.fields["goal"] == "deadline"


def test_a_goal_at_risk_is_kept_with_its_tick(redis_url: str) -> None:
    fleet = of_deadline(2, accounts=[a_market()], max_instances=2)
    with_speed(fleet, 0.001)
    fill(fleet, redis_url, 100)
    ticking.tick_fleet(fleet.pk)
    assert "cannot make it: needs" in Tick.objects.get().risk
    assert "Allow" in Tick.objects.get().risk
