"""What the rows of pods and the surveys of accounts say about the offers of a market."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.lacks import Lack
from fleet.decision.placement import NOTHING_KNOWN, REMEMBERED, Trouble, Weighed
from fleet.decision.values import Wanted
from fleet.models import Fleet
from fleet.tick import market, wishes
from pods.accounts import surveying
from pods.accounts.surveying import Surveyed
from pods.base import clock
from pods.models import Account, Pod, Survey
from pods.providers.base import Offer
from pods.states import FAILED, LOST, READY, TERMINATED, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours, packed, seconds

DAYS_3 = market.LONGEST_REMEMBERED


@pytest.mark.parametrize(
    ("state", "rule", "host", "interruptible", "trouble"),
    [
        ("failed", "silent", "h", True, Trouble.REFUSED),
        ("terminated", "agent_failed", "h", False, Trouble.GAVE_UP),
        ("terminated", "agent_failed", "h", True, Trouble.GAVE_UP),
        ("terminated", "agent_ended", "h", True, Trouble.LOST),
        ("terminated", "agent_ended", "h", False, Trouble.GAVE_UP),
        ("terminated", "not_as_ordered", "", False, Trouble.REFUSED),
        ("terminated", "not_as_ordered", "h", False, Trouble.BROKEN),
        ("lost", "absent", "h", True, Trouble.LOST),
        ("lost", "absent", "h", False, Trouble.BROKEN),
        ("terminated", "silent", "h", True, Trouble.BROKEN),
    ],
)
def test_what_the_end_of_a_pod_says_about_its_offer(
    state: str, rule: str, host: str, interruptible: bool, trouble: Trouble
) -> None:
    assert market._trouble(state, rule, host, interruptible=interruptible) is trouble


@pytest.mark.parametrize(
    ("stopped", "gb", "usd", "stopped_usd"),
    [
        (Decimal("0.1"), "0", "1", "0.1"),
        (None, "0", "1", "1"),
        (Decimal("0.1"), "0.01", "1.2", "0.3"),
    ],
)
def test_an_offer_is_priced_with_the_fleets_disk(
    stopped: Decimal | None, gb: str, usd: str, stopped_usd: str
) -> None:
    offer = Offer(
        key="o", hourly_usd=Decimal(1), stopped_hourly_usd=stopped, disk_gb=20,
        gb_hourly_usd=Decimal(gb),
    )  # fmt: skip
    facts = market._facts(Account(pk=3), offer, 40)
    assert (facts.hourly_usd, facts.stopped_hourly_usd) == (Decimal(usd), Decimal(stopped_usd))
    assert facts.account_id == 3


def a_survey(account: Account, *offers: Offer, at: Any = NOON) -> Surveyed:
    return Surveyed(account=account, offers=offers, at=at, until=NOON + hours(1), partial="")


def an_offer(key: str, usd: int, **values: Any) -> Offer:
    return Offer(key=key, hourly_usd=Decimal(usd), **values)


def test_of_a_machine_that_two_surveys_show_the_newer_reading_counts() -> None:
    account = Account(pk=3)
    old = a_survey(
        account,
        *(
            an_offer("a", 1, host="h"),
            an_offer("b", 2),
            an_offer("c", 3, host="h", interruptible=True),
        ),
        at=NOON - hours(1),
    )
    new = a_survey(account, an_offer("d", 4, host="h"), an_offer("b", 5))
    never = a_survey(account, an_offer("e", 6), at=None)
    merged = market._merged([old, new, never], 0)
    assert [(offer.key, at) for offer, at in merged] == [
        *(("d", NOON), ("b", NOON), ("c", NOON - hours(1))),
    ]
    other = a_survey(Account(pk=4), an_offer("f", 7))
    assert market._of(account, [old, other, new]) == [old, new]


@pytest.mark.django_db
def test_when_hosts_were_rented_since_the_oldest_survey() -> None:
    account, other = an_account(), an_account()
    fleet = a_fleet(accounts=[account])
    since = NOON - hours(1)
    surveys = [a_survey(account, at=since), a_survey(account), a_survey(account, at=None)]
    for host, at in (("h1", since), ("h1", NOON), ("h2", since - seconds(1)), ("", NOON)):
        a_pod(fleet, READY, host=host, requested_at=at)
    a_pod(fleet, READY, account=other, host="h3", requested_at=NOON)
    assert market._rented_since(surveys) == {(account.pk, "h1"): [since, NOON]}
    assert market._rented_since([a_survey(account, at=None)]) == {}


@pytest.mark.django_db
def test_how_fast_each_kind_was_and_which_has_finished_an_item() -> None:
    fleet = a_fleet()
    long_ago = NOON - market.MEASURED_WITHIN
    rows: list[dict[str, Any]] = [
        {"gpu_type": "A100", "rate": 1.0},
        {"gpu_type": "A100", "rate": 3.0},
        {"gpu_type": "A100", "rate": 9.0, "done": 0},
        {"gpu_type": "A100", "rate": 9.0, "requested_at": long_ago},
        {"gpu_type": "A100", "rate": 0.1, "ready_at": NOON - seconds(29)},  # it has just begun
        {"gpu_type": "A100", "rate": 9.0, "held_ms": 29_999},  # it had items for too short a time
        {"gpu_type": "L4", "rate": 0.0},
    ]
    for row in rows:
        a_pod(fleet, READY, **{"gpu_count": 1, "done": 1, "requested_at": NOON, **row})
    a_pod(a_fleet(), READY, gpu_type="H100", gpu_count=1, rate=9.0, done=1, requested_at=NOON)
    speeds, proven = market._measured(fleet, NOON)
    assert [count for _, count in speeds] == [1]
    assert list(speeds.values()) == [2.5]
    assert len(proven) == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "speed"),
    [
        (
            {"idle_since": NOON - seconds(3500)},
            40.0,
        ),  # it worked for 100 s, and ended long after that
        ({"idle_since": None, "ended_at": NOON - seconds(3400)}, 20.0),
        ({"idle_since": NOON - hours(2), "ended_at": NOON - seconds(3400)}, 20.0),
        ({"idle_since": None, "ended_at": None}, None),  # it works, and finishes nothing
        ({"ended_at": NOON, "retire_rule": "hung"}, None),  # nobody knows for how long it worked
        ({"ended_at": NOON, "retire_rule": "operator"}, None),
    ],
)
def test_a_pod_whose_work_is_over_shows_the_speed_of_all_its_work(
    row: dict[str, Any], speed: float | None
) -> None:
    fleet = a_fleet()
    began = {"ready_at": NOON - hours(1), "requested_at": NOON - hours(1), "gpu_count": 1}
    a_pod(fleet, TERMINATED, gpu_type="L4", rate=0.0, done=4000, **began, **row)
    speeds, proven = market._measured(fleet, NOON)
    assert list(speeds.values()) == ([] if speed is None else [speed])
    assert len(proven) == 1


@pytest.mark.django_db
def test_the_speed_of_all_work_stands_in_only_for_kinds_without_a_better_one() -> None:
    fleet = a_fleet()
    began = {"ready_at": NOON - hours(1), "requested_at": NOON - hours(1), "gpu_count": 1}
    over = {**began, "idle_since": NOON - seconds(3500), "done": 1000, "rate": 0.0}  # 10 items/s
    for gpu_type in ("L4", "A100"):
        a_pod(fleet, TERMINATED, gpu_type=gpu_type, **over)
    a_pod(fleet, READY, gpu_type="L4", held_ms=60_000, **{**began, "done": 120})
    speeds, _ = market._measured(fleet, NOON)
    assert {kind[0]: speed for kind, speed in speeds.items()} == {"L4": 2.0, "A100": 10.0}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("held_ms", "says"), [(0, True), (1, False), (29_999, False), (30_000, True)]
)
def test_a_pod_that_had_items_for_too_short_a_time_says_nothing_about_its_speed(
    held_ms: int, says: bool
) -> None:
    a_pod(a_fleet(), READY, held_ms=held_ms)
    assert Pod.objects.filter(market.says_speed()).exists() is says


@pytest.mark.parametrize(
    ("spot_usd", "goal", "keys"),
    [
        (1, "cheapest", ["spot", "firm"]),
        (3, "cheapest", ["spot", "firm"]),
        (1, "demand", ["spot", "spot"]),
        (3, "demand", ["firm", "firm"]),
    ],
)
def test_a_goal_weighs_the_best_of_each_kind_and_demand_the_best_of_all(
    spot_usd: int, goal: str, keys: list[str]
) -> None:
    offers = [
        market._facts(Account(pk=3), an_offer(key, usd, interruptible=key == "spot"), 0)
        for key, usd in (("spot", spot_usd), ("firm", 2))
    ]
    fleet = Fleet(goal=goal, max_instances=1, spawn_per_tick=2)
    ranked = market._ranked(fleet, offers, Wanted(), NOTHING_KNOWN)
    assert [offer.key for offer in ranked] == keys


@pytest.mark.django_db
def test_offers_are_those_of_the_accounts_that_are_given() -> None:
    mine, other = an_account(offers=[packed("a", "1", "A")]), an_account()
    fleet = a_fleet(accounts=[other])
    now = clock.utcnow()
    found = [market.offers_for(fleet, now, NOTHING_KNOWN, accounts=a) for a in ([mine], [], None)]
    assert [[offer.key for offer in supply.offers] for supply in found] == [["a"], [], []]
    assert "has no account" in found[1].because
    assert f"{other.name}: its offers were not read yet" == found[2].because


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "row", "troubles"),
    [
        (FAILED, {"retire_rule": "no_capacity"}, ["refused"]),
        (FAILED, {"retire_rule": "no_capacity", "asked_at": None}, []),
        (FAILED, {"retire_rule": "auth_failed"}, []),
        (READY, {"retire_rule": "no_capacity"}, []),
        (LOST, {"retire_rule": "operator"}, ["broken"]),
        (TERMINATED, {"retire_rule": "silent"}, ["broken"]),
        (TERMINATING, {"retire_rule": "absent"}, ["broken"]),
        (TERMINATED, {"retire_rule": "idle"}, []),
        (READY, {"retire_rule": "silent"}, []),
        (TERMINATED, {"retire_rule": "agent_failed"}, ["gave_up"]),
        (TERMINATED, {"retire_rule": "agent_failed", "done": 1}, []),
        (READY, {"retire_rule": "agent_failed"}, []),
        (TERMINATED, {"retire_rule": "silent", "state_since": NOON - DAYS_3}, []),
        (FAILED, {"retire_rule": "no_capacity", "state_since": NOON - REMEMBERED}, []),
    ],
)
def test_which_pods_failed_lately(state: Any, row: dict[str, Any], troubles: list[str]) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, state, asked_at=NOON, boot_seconds=60)
    values = {"state_since": NOON - timedelta(seconds=9), **row}
    Pod.objects.filter(pk=pod.pk).update(**values)
    found = market._failures(fleet, NOON)
    assert [failure.trouble.name.lower() for failure in found] == troubles
    assert all(failure.ago == seconds(9) for failure in found)
    others = market._failures(a_fleet(), NOON)  # a bad host is bad for every fleet
    assert len(others) == (0 if "gave_up" in troubles else len(troubles))


@pytest.mark.django_db
def test_the_offers_of_accounts_are_all_or_those_of_a_wish() -> None:
    account = an_account(offers=[packed("general", "1", "A")])
    wish = Wanted(min_vram_gb=2)
    digest = surveying.digest(wishes.query_of(wish))
    for name in (digest, "another"):
        Survey.objects.create(
            account=account,
            digest=name,
            query={},
            surveyed_at=NOON,
            offers=[packed(name, "1", name)],
        )
    keys = {offer.key for offer in market.offers_of([account], disk_gb=20)}
    assert keys == {"general", digest, "another"}
    keys = {offer.key for offer in market.offers_of([account], disk_gb=20, wish=wish)}
    assert keys == {"general", digest}


@pytest.mark.django_db
def test_an_account_whose_fitting_offers_are_avoided_says_so() -> None:
    account, other = (an_account(name=n) for n in ("acme", "other"))
    offer = market._facts(account, Offer(key="o", hourly_usd=Decimal(1)), 20)
    weighed = [
        Weighed(measured=False, offer=replace(offer, account_id=other.pk), refused="of the other"),
        Weighed(measured=False, offer=offer, refused="its host is bad"),
    ]
    survey = a_survey(account)
    listed = market._Listed(account=account, surveys=[survey], offers=[offer], free=[offer])
    lack = market._lack(account, listed, weighed, Wanted(), NOON)
    assert lack.lack is Lack.AVOIDED
    assert lack.because == "1 fitting offer avoided for now (the best one: its host is bad)"
    assert market._lack(account, listed, weighed[:1], Wanted(), NOON).lack is Lack.NONE_FITS
