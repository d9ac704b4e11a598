"""The sentences of the preview beside a fleet's form."""

from decimal import Decimal
from typing import Any

from fleet.decision.decide import decide
from fleet.decision.field_words import LABELS, RULES
from fleet.decision.values import Caps, Policy, Rule, Snapshot
from fleet.pages import foresight
from fleet.tick.ticking import Preview
from tests.support.factories import NOON, pod_facts, policy, snapshot


def told(seen: Snapshot, limits: Policy, **values: Any) -> foresight.Foresight:
    preview = Preview(seen=seen, policy=limits, decision=decide(seen, limits))
    return foresight.told(preview, **{"paid": True, "top_price_usd": None, "at": NOON, **values})


def test_it_says_which_limit_ends_a_pod_and_when_the_items_are_done() -> None:
    pods = [pod_facts(n, hourly_usd=Decimal("0.2"), items_per_second=2.0) for n in range(3)]
    seen = snapshot(57_100, pods=pods, items_per_second=6.0)
    said = told(seen, policy(max_hourly_usd=Decimal("0.4"), daily_budget_usd=Decimal(2)))
    assert said.does == "ends 1 pod now"
    assert said.more == " and holds at 2 of 571 wanted: "
    assert (said.rule, said.field) == ("Highest spend per hour", "max_hourly_usd")
    assert said.because == ""
    assert said.items == "57.1 k items done about 15:57 (in 3 h 57 min), for about $1.59."
    assert said.worst == "At worst $0.40/h and $2.00 a day."


def test_it_says_what_it_does_not_know() -> None:
    said = told(snapshot(None, unknown_because="Redis does not answer."), policy())
    assert said.does == "starts and ends no pod"
    assert said.more == ". Unknown: Redis does not answer"
    assert said.items == "When its items are done is not known."
    assert told(snapshot(1), policy(max_instances=0)).items == "1 item waits, and no pod works."


def test_a_fleet_without_limits_and_a_free_fleet_are_told_apart() -> None:
    assert told(snapshot(), policy()).worst == "No limit stops its spending."
    assert told(snapshot(), policy(), paid=False).worst == "Its accounts cost nothing."
    without = told(snapshot(), policy(), paid=None).worst
    assert without == "No account is chosen, so no pod can start. Choose one under Rent from."
    top = told(snapshot(), policy(max_instances=2), top_price_usd=Decimal("0.5")).worst
    assert top == "At worst $1.00/h and $24.00 a day."


def test_a_rule_that_no_field_lifts_says_why() -> None:
    said = told(snapshot(500, offers=(), no_offers_because="main: no offer"), policy())
    assert (said.rule, said.field) == ("Nothing to rent", "offer_gpu_types")
    assert said.because == " (main: no offer)"
    held = told(snapshot(500, proven=False), policy())
    assert (held.field, held.because) == ("", "")
    cap = policy(installation=Caps(max_instances=1))
    said = told(snapshot(500), cap)
    assert said.rule == "Most pods at once, all fleets"
    assert said.because == " (0 of the installation's 1 places for pods are taken)"


def test_every_rule_has_words() -> None:
    assert set(RULES) == set(Rule)
    assert all(LABELS.values())
