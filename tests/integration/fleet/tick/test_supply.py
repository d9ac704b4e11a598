"""What a fleet can rent from its accounts, and the reason of each account that has nothing."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from fleet import operating
from fleet.decision.lacks import Lack
from fleet.decision.placement import NOTHING_KNOWN, Experience
from fleet.decision.values import MOST_PODS, MOST_STARTS
from fleet.models import Fleet, Limits, Tick
from fleet.tick import market, policies, ticking, wishes
from fleet.tick.recording import replayed
from pods.accounts import surveying
from pods.base import clock
from pods.models import Account, Survey
from pods.providers.base import Offer, OfferQuery
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours, packed
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


def supply_of(fleet: Fleet) -> market.Supply:
    return market.offers_for(fleet, clock.utcnow(), NOTHING_KNOWN)


def lacks_of(fleet: Fleet) -> dict[str, Lack]:
    return {lack.account: lack.lack for lack in supply_of(fleet).lacks}


def a_survey(account: Account, fleet: Fleet, *offers: Any, **values: Any) -> Survey:
    """What an account offers for the fleet's wish."""
    wishes.keep_wishes(account)
    survey = Survey.objects.get(
        account=account, digest=surveying.digest(wishes.query_of(wishes.wanted(fleet)))
    )
    now = clock.utcnow()
    facts = {"surveyed_at": now, "offers_until": now + timedelta(minutes=15), **values}
    Survey.objects.filter(pk=survey.pk).update(offers=list(offers), **facts)
    return survey


def test_each_account_says_why_it_has_nothing() -> None:
    old = NOON - timedelta(days=30)
    with clock.use(lambda: NOON):
        accounts = [
            an_account("runpod", name="off", enabled=False),
            an_account("runpod", name="ill", open_until=NOON + timedelta(hours=1), last_error="x"),
            an_account("runpod", name="new"),
            an_account("runpod", name="old", offers=[packed("o", "1", "A")], surveyed_at=old),
            an_account("runpod", name="empty", offers=[]),
            an_account("runpod", name="other", offers=[packed("o", "1", "B")]),
            an_account("runpod", name="rented", offers=[packed("o", "1", "A", host="h1")]),
        ]
        fleet = a_fleet(accounts=accounts, image="i:1", offer_query={"gpu_types": ["A"]})
        a_pod(fleet, READY, account=accounts[-1], host="h1")
        assert lacks_of(fleet) == {
            **{"off": Lack.DISABLED, "ill": Lack.LEFT_ALONE, "new": Lack.NOT_SURVEYED},
            **{"old": Lack.TOO_OLD, "empty": Lack.NOTHING_OFFERED, "other": Lack.NONE_FITS},
            **{"rented": Lack.ALL_TAKEN},
        }
        said = supply_of(fleet).because
    for account in accounts:
        assert f"{account.name}: " in said
    assert "old: its offers are 30 d old" in said


def test_where_one_account_has_an_offer_nothing_lacks() -> None:
    good = an_account("runpod", offers=[packed("o", "1", "A")])
    fleet = a_fleet(accounts=[good, an_account("runpod")], image="i:1")
    supply = supply_of(fleet)
    assert [o.key for o in supply.offers] == ["o"]
    assert (supply.lacks, supply.because) == ((), "")


def test_a_tick_does_not_rent_by_an_old_offer_and_says_so(redis_url: str) -> None:
    """Before, a tick rented at a price that was 30 days old."""
    account = an_account("vastai", name="vast", offers=[packed("o", "1", "A")])
    fleet = a_fleet(accounts=[account], image="i:1", max_instances=3, target_depth_per_pod=10)
    operating.make_group(fleet)
    add_items(redis_url, 1000)
    limit = surveying.OFFERS_LAST
    assert timedelta(minutes=5) <= limit <= timedelta(hours=1)
    for age, spawned in ((limit + timedelta(seconds=1), 0), (limit - timedelta(minutes=1), 1)):
        Account.objects.update(surveyed_at=clock.utcnow() - age)
        ticking.tick_fleet(fleet.pk)
        tick = Tick.objects.latest("pk")
        assert tick.spawned == spawned
    first = Tick.objects.earliest("pk")
    assert "vast: its offers are 15 min 1 s old, which is too old to rent by" in first.sentence
    (lack,) = replayed(first.snapshot).lacks
    assert (lack.account_id, lack.lack) == (account.pk, Lack.TOO_OLD)


def test_a_price_list_lasts_as_long_as_its_provider_says() -> None:
    now = clock.utcnow()
    account = an_account(
        "runpod",
        offers=[packed("o", "1", "A")],
        surveyed_at=now - timedelta(minutes=40),
        offers_until=now + timedelta(minutes=20),
    )
    fleet = a_fleet(accounts=[account], image="i:1")
    assert supply_of(fleet).offers
    Account.objects.update(offers_until=now)
    assert lacks_of(fleet) == {account.name: Lack.TOO_OLD}


@pytest.mark.parametrize("name", ["min_instances", "max_instances", "spawn_per_tick", "batch_size"])
def test_a_typing_error_asks_for_no_billion_of_anything(name: str) -> None:
    fleet = a_fleet()
    setattr(fleet, name, 999_999_999)
    with pytest.raises(ValidationError, match="less than or equal to") as refused:
        fleet.full_clean(exclude=["schedule"])
    assert name in refused.value.message_dict


def test_a_row_from_before_the_limits_asks_for_no_billion_of_offers() -> None:
    account = an_account("runpod", offers=[packed("o", "1", "A")])
    fleet = a_fleet(accounts=[account])
    Fleet.objects.update(spawn_per_tick=10**9, max_instances=10**9)
    fleet.refresh_from_db()
    known = Experience(speeds={}, proven=frozenset({("A", 1)}))
    assert len(market.offers_for(fleet, clock.utcnow(), known).offers) == MOST_STARTS
    policy = policies.policy_of(fleet, Limits.get(), clock.utcnow())
    assert (policy.max_instances, policy.spawn_per_tick) == (MOST_PODS, MOST_STARTS)


def test_what_was_read_for_the_fleets_wish_is_rented_and_not_that_of_another_wish() -> None:
    account = an_account("vastai", offers=[packed("cheap", "0.05", "GTX 1070")])
    fleet = a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["H100"]})
    other = a_fleet(
        accounts=[account], image="i:1", offer_query={"gpu_types": ["H200"]}, stream="b"
    )
    a_survey(account, fleet, packed("h100", "2", "H100 SXM"))
    a_survey(account, other, packed("h200", "3", "H200"))
    assert [o.key for o in supply_of(fleet).offers] == ["h100"]
    assert [o.key for o in supply_of(other).offers] == ["h200"]


def test_the_newer_reading_of_a_machine_counts() -> None:
    now = clock.utcnow()
    old = packed("7@0.2", "0.2", "A", host="h1", interruptible=True)
    account = an_account("vastai", offers=[old], surveyed_at=now - timedelta(minutes=5))
    fleet = a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["A"]})
    a_survey(account, fleet, packed("7@0.3", "0.3", "A", host="h1", interruptible=True))
    assert {o.key for o in supply_of(fleet).offers} == {"7@0.3"}


def test_a_host_that_was_rented_comes_back_with_the_next_reading() -> None:
    now = clock.utcnow()
    hosted = packed("7", "0.2", "A", host="h1")
    account = an_account("vastai", offers=[hosted], surveyed_at=now - timedelta(minutes=5))
    fleet = a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["A"]})
    a_pod(fleet, READY, host="h1", requested_at=now - timedelta(minutes=4))
    assert lacks_of(fleet) == {account.name: Lack.ALL_TAKEN}
    a_survey(account, fleet, packed("8", "0.2", "A", host="h1"))
    assert {o.key for o in supply_of(fleet).offers} == {"8"}


def test_a_partial_reading_is_named_where_nothing_fits() -> None:
    account = an_account("vastai", name="vast", offers=[packed("o", "1", "B")])
    fleet = a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["A"]})
    a_survey(account, fleet, partial="a page could not be read: 429")
    assert "(not all were read: a page could not be read: 429)" in supply_of(fleet).because


def test_a_price_is_not_hidden_behind_a_gpu_that_the_market_has() -> None:
    """The general survey reads the cheapest offers: that it has no H100 says nothing about H100s."""
    account = an_account(
        "vastai", offers=[packed("o", "0.1", "B")], survey_partial="only the cheapest were read"
    )
    wish = {"gpu_types": ["H100"], "max_hourly_usd": "0.5"}
    fleet = a_fleet(accounts=[account], image="i:1", offer_query=wish, disk_gb=20)
    words = "GPU H100 and Top price of a pod $0.50/h and Disk 20 GB together"
    (lack,) = supply_of(fleet).lacks
    assert f"({words})" in lack.because
    a_survey(account, fleet)
    (lack,) = supply_of(fleet).lacks
    assert lack.because == f"asked for just that, it has no offer with {words}"
    Account.objects.update(survey_partial="")
    assert "(GPU H100)" in supply_of(fleet).because


def test_a_disk_that_no_host_has_is_not_rented() -> None:
    account = an_account("vastai", offers=[packed("o", "1", "A", largest_disk_gb=25)])
    fleet = a_fleet(accounts=[account], image="i:1", disk_gb=25)
    assert supply_of(fleet).offers
    Fleet.objects.update(disk_gb=300)
    fleet.refresh_from_db()
    assert lacks_of(fleet) == {account.name: Lack.NONE_FITS}


def test_an_account_is_asked_for_each_distinct_wish_of_its_running_fleets() -> None:
    account, unused = an_account("vastai"), an_account("vastai")
    wanted = [
        {"gpu_types": ["H100 SXM", "4090"]},
        {"gpu_types": ["RTX_4090", "h100_sxm"]},  # the same
        {"gpu_types": ["H100 SXM"], "max_hourly_usd": "2.5"},
        {},  # what every account is asked for
    ]
    for n, query in enumerate(wanted):
        a_fleet(accounts=[account], image="i:1", offer_query=query, stream=f"s{n}")
    paused = a_fleet(
        accounts=[account], offer_query={"gpu_types": ["L4"]}, mode="paused", stream="p"
    )
    broken = a_fleet(accounts=[account], stream="b")
    Fleet.objects.filter(pk=broken.pk).update(offer_query={"min_vram_gb": "much"})
    for one in (account, unused):
        wishes.keep_wishes(one)
    queries = [surveying.query_of(s) for s in account.surveys.order_by("pk")]
    assert [sorted(q.gpu_types) for q in queries] == [["H100 SXM", "RTX 4090"], ["H100 SXM"]]
    assert not unused.surveys.exists()
    kept = set(account.surveys.values_list("pk", flat=True))
    Fleet.objects.filter(pk=paused.pk).update(mode="running")
    wishes.keep_wishes(account)
    assert kept < set(account.surveys.values_list("pk", flat=True))
    Fleet.objects.update(mode="stop_all")
    wishes.keep_wishes(account)
    assert not account.surveys.exists()


def test_an_account_whose_market_is_read_whole_is_not_asked_for_wishes() -> None:
    """A price list answers every wish; more calls would only use up the rate of the account."""
    fresh = clock.utcnow() + timedelta(minutes=30)
    account = an_account("runpod", offers=[packed("o", "1", "A")], offers_until=fresh)
    fleet = a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["A"]}, disk_gb=40)
    wishes.keep_wishes(account)
    assert not account.surveys.exists()
    assert [o.key for o in supply_of(fleet).offers] == ["o"]
    account.survey_partial = "the cloud COMMUNITY could not be read"
    wishes.keep_wishes(account)
    assert account.surveys.count() == 1
    account.survey_partial, account.offers_until = "", clock.utcnow()
    wishes.keep_wishes(account)
    assert account.surveys.count() == 1
    Fleet.objects.update(disk_gb=10)  # hosts with less than 20 GB are not in the general survey
    account.offers_until = fresh
    wishes.keep_wishes(account)
    assert account.surveys.count() == 1


def test_a_fleet_with_a_larger_disk_has_a_wish_of_its_own() -> None:
    account = an_account("vastai")
    a_fleet(accounts=[account], image="i:1", disk_gb=300)
    wishes.keep_wishes(account)
    (asked,) = account.surveys.all()
    assert surveying.digest(surveying.query_of(asked)) == surveying.digest(OfferQuery(disk_gb=300))


def test_pods_of_older_versions_keep_their_speeds_under_the_names_of_the_catalogue() -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, gpu_type="H100 80GB HBM3", gpu_count=1, done=5, rate=8.0)
    a_pod(fleet, READY, gpu_type="H100 SXM", gpu_count=1, done=5, rate=4.0)
    known = market.experience(fleet, clock.utcnow(), ())
    assert known.speeds == {("H100 SXM", 1): pytest.approx((64 + 16) / 12)}
    assert known.proven == {("H100 SXM", 1)}


def test_an_offer_is_stored_and_read_back_unchanged() -> None:
    offer = Offer(key="o", hourly_usd=Decimal(1), largest_disk_gb=25, remaining=hours(1))
    assert surveying.unpacked(surveying.packed(offer)) == offer
