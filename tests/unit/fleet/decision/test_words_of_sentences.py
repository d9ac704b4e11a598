"""What decisions and alerts say uses the names that the pages use, and money as people write it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given

from fleet.decision.alert_facts import (
    AccountSeen,
    AlertFacts,
    FleetSeen,
    Incident,
    OrphanSeen,
    PodSeen,
    TickSeen,
)
from fleet.decision.alerts import alerts
from fleet.decision.decide import decide
from fleet.decision.field_words import LABELS, RULES
from fleet.decision.values import Decision, Policy, Rule, Snapshot
from fleet.models import Fleet, Limits
from tests.support.factories import NOON, hours, offer_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots

TECHNICAL = re.compile(r"\b[a-z]+_[a-z_]+\b")
MONEY = re.compile(r"\$[\d,.]*\d")
IN_CENTS = re.compile(r"\$\d[\d,]*\.\d\d")


def said(decision: Decision) -> Iterator[str]:
    yield decision.sentence
    yield from (step.because for step in decision.steps)
    yield from (new.because for new in decision.spawn)
    yield from (again.because for again in decision.resume)
    yield from (leaving.because for leaving in decision.retire)


def check(text: str) -> None:
    assert not TECHNICAL.search(text), text
    assert all(IN_CENTS.fullmatch(amount) for amount in MONEY.findall(text)), text


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_no_decision_says_the_technical_name_of_a_field_or_a_raw_price(
    seen: Snapshot, p: Policy
) -> None:
    offers = [offer_facts("o", hourly_usd=Decimal("0.123456"))]
    eager = replace(seen, depth=10**9, proven=True, offers=offers)
    for text in (*said(decide(seen, p)), *said(decide(eager, p))):
        check(text)


def test_the_binding_limit_is_called_by_its_label() -> None:
    offers = [offer_facts(f"o{n}") for n in range(9)]
    seen = snapshot(10_000, offers=offers, proven=True)
    decision = decide(seen, policy(max_instances=3, spawn_per_tick=9))
    assert f"limited to 3 because {RULES[Rule.MAX_INSTANCES]} is 3" in decision.sentence


def test_each_alert_has_its_amounts_in_cents() -> None:
    half = Decimal("0.500000")
    tick = TickSeen(at=NOON, depth=5, active=1, ready=1, items_per_second=1.0, ceiling=True)
    fleet = FleetSeen(
        fleet_id=1, name="emb", alert_after=hours(24), period=seconds(15), scheduled=True,
        undecided_for=hours(100), max_instances=4, last_tick_at=NOON, ticks=[tick],
        spent_today_usd=Decimal("30.000001"), daily_budget_usd=Decimal("60.000000"),
        spent_total_usd=Decimal(81), total_budget_usd=Decimal("100.000000"),
    )  # fmt: skip
    old = PodSeen(pod_id=7, name="p7", fleet_id=1, age=hours(30), hourly_usd=half)
    stuck = replace(old, pod_id=8, age=hours(1), terminating_for=seconds(900), tries=9)
    orphan = OrphanSeen(orphan_id=3, name="m", account="a", hourly_usd=Decimal("0.004000"))
    low = AccountSeen(account_id=1, name="a", balance_usd=Decimal("1.250000"), hourly_usd=half)
    found: frozenset[Incident] = alerts(
        AlertFacts(
            now=NOON, fleets=[fleet], pods=[old, stuck], orphans=[orphan], accounts=[low],
            installation_budget_usd=Decimal("60.000000"),
        )
    )  # fmt: skip
    texts = " | ".join(incident.text for incident in found)
    for words in (
        "for 30 h at $0.50/h", "bills $0.50/h", "$30.00 of the budget of $60.00",
        "$81.00 of the budget of $100.00", "bills <$0.01/h", "has $1.25 left", "at $0.50/h",
        "Highest spend per hour, the fleet's",
    ):  # fmt: skip
        assert words in texts, words
    for incident in found:
        check(incident.text)


@pytest.mark.parametrize("model", [Fleet, Limits])
def test_each_limit_has_words(model: type) -> None:
    named = {f.name for f in model._meta.concrete_fields}  # type: ignore[attr-defined]
    assert {"mode", "max_instances", "max_hourly_usd", "daily_budget_usd"} <= named & set(LABELS)
