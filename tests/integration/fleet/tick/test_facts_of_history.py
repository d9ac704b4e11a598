"""What surveys recorded of a week of offers, as a forecast reads it."""

from decimal import Decimal

import pytest

from fleet.decision.placement import NOTHING_KNOWN, Experience
from fleet.decision.spells import WEEK, History, Spell, kind_of
from fleet.decision.values import OfferFacts, Wanted
from fleet.tick import history
from pods.models import Account
from tests.support.factories import NOON, an_account, hours, offer_facts
from tests.support.spells import read_for, stood

pytestmark = pytest.mark.django_db
WEEK_HOURS = 24.0 * WEEK


def an_offer(account: Account, gpu_type: str = "L4") -> OfferFacts:
    return offer_facts(gpu_type, account_id=account.pk, gpu_type=gpu_type, gpu_count=1)


def read(
    account: Account,
    *offers: OfferFacts,
    wish: Wanted | None = None,
    known: Experience = NOTHING_KNOWN,
) -> History:
    wish = wish or Wanted(gpu_count=1)
    return history.history_of([account], offers, wish, known, NOON)


def test_the_stretches_of_an_offer_are_those_of_the_hours_in_which_its_account_was_read() -> None:
    account, other = an_account(), an_account()
    read_for(account, NOON, 10)
    read_for(other, NOON, 1)
    stood(account, NOON, 8, 6)
    stood(account, NOON, 4)
    stood(other, NOON, 10)
    offer = an_offer(account)
    found = read(account, offer, an_offer(account, "H100"))
    spells = [Spell(False, 2), Spell(True, 2), Spell(False, 2), Spell(True, 4)]
    [stretch] = found.stretches[kind_of(offer)]
    assert [(s.up, round(s.hours, 6)) for s in stretch] == [(s.up, s.hours) for s in spells]
    assert found.stretches.keys() == {kind_of(offer)}
    assert found.days == pytest.approx(10 / 24)
    assert found.absent == []


def test_an_account_that_was_not_read_within_the_week_says_nothing() -> None:
    account = an_account()
    read_for(account, NOON - hours(WEEK_HOURS + 1), 5)
    stood(account, NOON, 1)
    offer = an_offer(account)
    found = read(account, offer)
    assert (found.days, found.stretches[kind_of(offer)]) == (0.0, [])


def test_a_reading_without_a_length_makes_no_stretch() -> None:
    account = an_account()
    read_for(account, NOON, 0)
    stood(account, NOON, 1)
    assert read(account, an_offer(account)).stretches == {kind_of(an_offer(account)): []}


@pytest.mark.parametrize(
    ("gpu_type", "until", "price", "absent"),
    [
        ("L4", 2, "0.4", ["L4"]),
        ("H100", 2, "0.4", []),  # it stands now
        ("L4", None, "0.4", []),  # so does this one, which another rule left out
        ("L4", WEEK_HOURS, "0.4", []),  # that was before
        ("L4", 2, "9", []),  # too dear
    ],
)
def test_which_offers_stood_lately_and_do_not_stand_now(
    gpu_type: str, until: float | None, price: str, absent: list[str]
) -> None:
    account, other = an_account(), an_account()
    read_for(account, NOON, 5)
    stood(account, NOON, WEEK_HOURS + 1, until, gpu_type=gpu_type, hourly_usd=Decimal(price))
    stood(other, NOON, 4, 1, gpu_type="A100")
    wish = Wanted(gpu_count=1, max_hourly_usd=Decimal(1))
    found = read(account, an_offer(account, "H100"), wish=wish)
    assert [offer.gpu_type for offer in found.absent] == absent


def test_an_offer_of_a_kind_that_is_on_trial_is_not_counted_on() -> None:
    account = an_account()
    stood(account, NOON, 4, 2)
    for running, absent in ((0, 1), (1, 0)):
        known = Experience(
            speeds={}, proven=frozenset({("H100", 1)}), running={("L4", 1): running, ("H100", 1): 1}
        )
        assert len(read(account, known=known).absent) == absent
