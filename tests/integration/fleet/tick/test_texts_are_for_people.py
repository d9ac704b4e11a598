"""Decisions depend on rules alone, not on the wording of the texts beside them."""

from typing import Any

import pytest
from django.db.models import QuerySet

from fleet.alerts import reconciling
from fleet.decision.alerts import alerts
from fleet.models import Fleet
from fleet.tick import market
from fleet.tick.failing import failing_of
from pods import health, lifecycle, teardown
from pods.base import clock
from pods.models import Account, Pod, PodEvent
from pods.rules import TAKEN_RULES, TRY_RULES, ErrorKind, PodRule
from pods.states import CREATING, FAILED, LOST, READY, TERMINATED, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account

pytestmark = pytest.mark.django_db
POD_TEXTS = ("because", "retire_because", "lost_because", "note")
WORDS = (
    "", "ended", "never booted: no agent", "silent: no sign", "hung", "straggler: slow",
    "machine failed: disk", "stopped unasked: outbid", "AuthFailed: 401", "BadSecret: x",
    "idle: idle for 130 s",
)  # fmt: skip


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    made: Fleet = a_fleet(accounts=[an_account()])
    return made


def say(words: str) -> None:
    """Replace every text for people by these words."""
    Pod.objects.update(**dict.fromkeys(POD_TEXTS, words))
    events: QuerySet[PodEvent] = PodEvent.objects.all()
    events.update(because=words)
    Account.objects.update(last_error=words)


def concluded(fleet: Fleet) -> dict[str, Any]:
    """The conclusions from the ends of pods and the failures of accounts."""
    now = clock.utcnow()
    facts = reconciling.gather(now)
    known = market.experience(fleet, now, ())
    failing = failing_of(fleet)
    return {
        "failures": sorted((f.trouble, f.key) for f in known.failures),
        "failing": None if failing is None else (failing.count, failing.until),
        "alerts": sorted((f.cause, f.subject) for f in alerts(facts)),
        "may end ill": [health.may_end_ill(fleet.pk, peers=n, now=now) for n in (1, 6, 9, 12)],
    }


def test_other_texts_change_no_decision(fleet: Fleet) -> None:
    for rule in PodRule:
        a_pod(fleet, TERMINATED, offer_key=rule.value, retire_rule=rule.value)
        failed = a_pod(fleet, CREATING, offer_key=f"{rule.value}-failed")
        lifecycle.move(failed, FAILED, by="spawn", rule=rule, because="x")
        spot = {"offer_key": f"{rule.value}-spot", "interruptible": True}
        a_pod(fleet, LOST, retire_rule=rule.value, **spot)
    for rule in (PodRule.SILENT, PodRule.HUNG):
        lifecycle.move(a_pod(fleet, READY), TERMINATING, by="health", rule=rule, because="x")
    teardown.retire_pod(a_pod(fleet, READY), by="tick", rule=PodRule.STRAGGLER, because="x")
    for kind in ErrorKind:
        an_account(failures=3, open_until=clock.utcnow(), last_error_kind=kind.value)
    expected = concluded(fleet)
    spots = TRY_RULES - TAKEN_RULES
    assert expected["failing"][0] == 2 * len(TRY_RULES) + len(spots) + 3
    assert expected["may end ill"] == [False, False, True, True]
    assert {cause for cause, _ in expected["alerts"]} == {
        "circuit_open",
        "credentials",
    }
    for words in WORDS:
        say(words)
        assert concluded(fleet) == expected, words
