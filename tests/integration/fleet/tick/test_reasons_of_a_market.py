"""Why an account offers a fleet nothing, and what the work of older agents shows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fleet.decision import unfit
from fleet.decision.lacks import Lack
from fleet.decision.placement import NOTHING_KNOWN
from fleet.decision.values import Wanted
from fleet.tick import market
from pods.accounts.surveying import Surveyed
from pods.models import Account
from pods.providers.base import OfferQuery
from pods.states import READY, STOPPED, TERMINATED
from tests.support.factories import (
    NOON,
    a_fleet,
    a_pod,
    an_account,
    hours,
    offer_facts,
    packed,
    seconds,
)

USUAL = Wanted(disk_gb=OfferQuery().disk_gb, gpu_count=OfferQuery().gpu_count)


@pytest.mark.parametrize(
    ("error", "says"), [("", "left alone after failures"), ("no", "left alone after failures: no")]
)
def test_an_account_that_is_left_alone_says_its_last_error(error: str, says: str) -> None:
    found = market._why_none(Account(last_error=error), None, [], USUAL, NOON)
    assert found == (Lack.LEFT_ALONE, says)


def a_survey(*, fresh: bool = True, partial: str = "") -> Surveyed:
    until = NOON + hours(1) if fresh else NOON - hours(1)
    return Surveyed(account=Account(pk=3), offers=(), at=NOON, until=until, partial=partial)


@pytest.mark.parametrize(
    ("wish", "surveys", "whole", "begins"),
    [
        (USUAL, [a_survey()], True, "none of its 1 offer fits"),
        (USUAL, [a_survey(fresh=False)], False, "none of its 1 offer fits"),
        (USUAL, [a_survey(partial="slow")], False, "none of its 1 offer fits"),
        (replace(USUAL, disk_gb=1), [a_survey()], False, "none of its 1 offer fits"),
        (replace(USUAL, gpu_count=7), [a_survey()], False, "none of its 1 offer fits"),
        # The general survey has all offers, so it is known what each word alone would give.
        (USUAL, [a_survey(), a_survey()], True, "none of its 1 offer fits"),
        (replace(USUAL, disk_gb=1), [a_survey(), a_survey()], False, "asked for just that"),
        (replace(USUAL, disk_gb=1), [a_survey(fresh=False), a_survey()], False, "none of its"),
        (replace(USUAL, disk_gb=1), [a_survey(partial="slow"), a_survey()], False, "none of its"),
    ],
)
def test_what_nobody_offers_is_blamed_alone_only_if_all_offers_were_read(
    monkeypatch: pytest.MonkeyPatch,
    wish: Wanted,
    surveys: Sequence[Surveyed],
    whole: bool,
    begins: str,
) -> None:
    asked: list[bool] = []

    def why_unfit(*_: Any, all_read: bool) -> str:
        asked.append(all_read)
        return "GPU H100"

    monkeypatch.setattr(unfit, "why_unfit", why_unfit)
    offers = [offer_facts()]
    listed = market._Listed(account=Account(pk=3), surveys=surveys, offers=offers, free=offers)
    says = market._none_fits(listed, wish, NOON)
    assert asked == [whole]
    assert says.startswith(begins)
    read = " (not all were read: slow)" if surveys[0].partial else ""
    assert says.partition(" (not")[1] + says.partition(" (not")[2] == read


@pytest.mark.django_db
def test_a_disabled_account_offers_nothing() -> None:
    account = an_account(offers=[packed("a", "1", "A")], surveyed_at=NOON, enabled=False)
    supply = market.offers_for(a_fleet(accounts=[account]), NOON, NOTHING_KNOWN)
    assert (supply.offers, [lack.lack for lack in supply.lacks]) == ((), [Lack.DISABLED])


@pytest.mark.django_db
def test_which_pods_run_and_which_kinds_have_worked() -> None:
    fleet = a_fleet()
    pods = [
        a_pod(fleet, state, gpu_type=gpu_type, gpu_count=1)
        for state, gpu_type in ((READY, "L4"), (READY, "A100"), (STOPPED, "L4"))
    ]
    known = market.experience(fleet, NOON, pods, [pods[0].pk])
    assert known.proven == {market._kind(pods[0])}
    assert dict(known.running or {}) == {market._kind(pods[0]): 1, market._kind(pods[1]): 1}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({}, True),
        ({"done": 0}, False),
        ({"held_ms": 1}, False),  # its agent says for how long it had items
        ({"ready_at": None}, False),
        ({"requested_at": NOON - market.MEASURED_WITHIN}, False),
    ],
)
def test_the_whole_work_of_which_pods_is_read(row: dict[str, Any], counts: bool) -> None:
    fleet = a_fleet()
    usual = {
        "gpu_type": "L4", "gpu_count": 1, "done": 1000, "requested_at": NOON - hours(1),
        "ready_at": NOON - hours(1), "idle_since": NOON - seconds(3500),
    }  # fmt: skip
    a_pod(a_fleet(), TERMINATED, **usual)
    a_pod(fleet, TERMINATED, **{**usual, **row})
    assert list(market._over_all_work(fleet, NOON).values()) == ([10.0] if counts else [])
