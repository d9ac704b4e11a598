"""The observed market: rows of when which offers stood, written by surveys."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet import retention
from pods.accounts import observing
from pods.base import clock
from pods.base.clock import utcnow
from pods.emulators.base import SteppedClock
from pods.models import Account, OfferSpell, SurveySpell
from tests.support.factories import an_account, packed

pytestmark = [pytest.mark.django_db]
SPOT = packed("spot", "0.40", "L4", interruptible=True, region="EU-RO-1")
FIRM = packed("firm", "0.80", "L4", region="EU-RO-1")


def read(account: Account, *offers: dict[str, Any]) -> None:
    """A survey that has just found these offers, and what is kept of it."""
    now = utcnow()
    Account.objects.filter(pk=account.pk).update(
        offers=list(offers), surveyed_at=now, offers_until=now + timedelta(minutes=5)
    )
    observing.observe(Account.objects.get(pk=account.pk))


def spells() -> list[tuple[bool, Decimal, int, int | None]]:
    """Kind, price, minutes from the first reading to the beginning and to the end of each spell."""
    first = SurveySpell.objects.order_by("since").first()
    assert first is not None

    def minute(at: Any) -> int:
        return round((at - first.since) / timedelta(minutes=1))

    rows = OfferSpell.objects.order_by("since", "hourly_usd")
    return [
        (
            r.interruptible,
            r.hourly_usd,
            minute(r.since),
            None if r.until is None else minute(r.until),
        )
        for r in rows
    ]


@pytest.fixture
def time() -> Iterator[SteppedClock]:
    stepped = SteppedClock()
    with clock.use(stepped):
        yield stepped


@pytest.fixture
def account() -> Account:
    return an_account("runpod", name="market")


def test_a_calm_market_is_one_row_for_each_type(account: Account, time: SteppedClock) -> None:
    dearer = {**SPOT, "key": "other", "hourly_usd": "0.45"}
    for _ in range(5):
        read(account, dearer, SPOT, FIRM)
        time.advance(60)
    assert spells() == [(True, Decimal("0.4"), 0, None), (False, Decimal("0.8"), 0, None)]
    [watched] = SurveySpell.objects.all()
    assert watched.until - watched.since == timedelta(minutes=4)


def test_a_spell_ends_when_the_offer_is_gone_or_its_price_moves(
    account: Account, time: SteppedClock
) -> None:
    read(account, SPOT, FIRM)
    time.advance(60)
    read(account, FIRM)
    time.advance(60)
    read(account, SPOT, {**FIRM, "hourly_usd": "0.87"})  # less than a tenth
    time.advance(60)
    read(account, SPOT, {**FIRM, "hourly_usd": "0.89"})
    assert spells() == [
        (True, Decimal("0.4"), 0, 1),
        (False, Decimal("0.8"), 0, 3),
        (True, Decimal("0.4"), 2, None),
        (False, Decimal("0.89"), 3, None),
    ]


def test_a_long_break_is_a_time_of_which_nobody_knows(account: Account, time: SteppedClock) -> None:
    read(account, SPOT, FIRM)
    time.advance(60)
    read(account, SPOT)
    time.advance(60)
    read(account, SPOT)
    time.advance(3600)
    read(account, SPOT)
    assert spells() == [
        (True, Decimal("0.4"), 0, 2),
        (False, Decimal("0.8"), 0, 1),  # it had ended before
        (True, Decimal("0.4"), 62, None),
    ]
    assert SurveySpell.objects.count() == 2


def test_a_spell_that_another_worker_ended_keeps_its_end(
    account: Account, time: SteppedClock
) -> None:
    read(account, SPOT)
    time.advance(60)
    read(account, FIRM)
    ended = OfferSpell.objects.get(interruptible=True)
    time.advance(60)
    observing._end([ended.pk], utcnow())
    assert OfferSpell.objects.get(pk=ended.pk).until == ended.until


def test_the_readings_of_one_account_change_no_spell_of_another(
    account: Account, time: SteppedClock
) -> None:
    other = an_account("runpod", name="other")
    read(account, SPOT, FIRM)
    time.advance(60)
    read(account, FIRM)  # so the first one has ended, and stays as it is
    time.advance(60)
    read(other, SPOT)
    before = list(OfferSpell.objects.filter(account=account).order_by("pk").values())
    time.advance(60)
    read(other, FIRM)
    time.advance(3600)
    read(other, FIRM)
    assert list(OfferSpell.objects.filter(account=account).order_by("pk").values()) == before
    ends = SurveySpell.objects.filter(account=account).values_list("until", flat=True)
    assert [(utcnow() - until).total_seconds() for until in ends] == [60 + 60 + 3600]
    read(account, FIRM)
    assert SurveySpell.objects.filter(account=account).count() == 2
    assert OfferSpell.objects.filter(account=account, until=None).count() == 1


def test_a_second_reading_at_the_same_moment_writes_nothing(
    account: Account, time: SteppedClock
) -> None:
    read(account, SPOT)
    read(account, FIRM)  # of another worker
    assert spells() == [(True, Decimal("0.4"), 0, None)]


def test_a_survey_that_is_too_old_ends_no_spell(account: Account, time: SteppedClock) -> None:
    read(account, SPOT, FIRM)
    account.surveys.create(digest="d", query={}, offers=[])  # a wish that was not read yet
    time.advance(60)
    read(account, FIRM)
    assert spells() == [(True, Decimal("0.4"), 0, None), (False, Decimal("0.8"), 0, None)]
    Account.objects.filter(pk=account.pk).update(offers_until=utcnow() - timedelta(minutes=1))
    before = SurveySpell.objects.get().until
    time.advance(60)
    observing.observe(Account.objects.get(pk=account.pk))
    assert SurveySpell.objects.get().until == before


def test_a_reading_writes_few_rows(
    account: Account, time: SteppedClock, django_assert_max_num_queries: Any
) -> None:
    many = [packed(str(n), "1", "L4", region=f"R{n}") for n in range(200)]
    read(account, *many)
    time.advance(60)
    account.refresh_from_db()
    Account.objects.filter(pk=account.pk).update(
        surveyed_at=utcnow(), offers_until=utcnow() + timedelta(minutes=5)
    )
    fresh = Account.objects.get(pk=account.pk)
    with django_assert_max_num_queries(8):
        observing.observe(fresh)
    assert OfferSpell.objects.count() == 200


def test_old_spells_are_deleted_and_standing_ones_stay(
    account: Account, time: SteppedClock
) -> None:
    read(account, SPOT, FIRM)
    time.advance(60)
    read(account, FIRM)
    for _ in range(32):
        time.advance(24 * 3600)
    deleted = dict(retention.prune())
    assert deleted == {"offer_spells": 1, "survey_spells": 1}
    assert OfferSpell.objects.get().until is None
