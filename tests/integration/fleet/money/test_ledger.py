"""The ledger adds up, to the millionth of a dollar, on both databases."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import Balance
from fleet.money import balances, ledger, spending
from pods import lifecycle
from pods.costs import segments
from pods.emulators.base import SteppedClock
from pods.models import MICROS, Pod, PriceSegment
from pods.price import cost_micros
from pods.providers.base import Capabilities
from pods.providers.errors import Unavailable
from pods.states import LOST, READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account

pytestmark = pytest.mark.django_db
HOUR = 3600
TODAY = NOON.date()


def end(pod: Pod) -> None:
    lifecycle.move(Pod.objects.get(pk=pod.pk), LOST, by="test", because="gone")


def test_totals_by_fleet_provider_gpu_and_day(time: SteppedClock) -> None:
    one, two = a_fleet(name="one"), a_fleet(name="two", accounts=[an_account("runpod")])
    a = a_pod(one, READY, hourly_usd=Decimal("0.5"), gpu_type="RTX 4090")
    a_pod(two, READY, hourly_usd=Decimal(2), gpu_type="H100")
    time.advance(12 * HOUR)  # midnight
    end(a)
    time.advance(3 * HOUR)
    booked = ledger.day_costs(TODAY, TODAY + timedelta(days=1))
    assert [(e.day, e.fleet, e.provider, e.gpu_type, e.usd) for e in booked] == [
        (TODAY, "one", "local", "RTX 4090", 6),
        (TODAY, "two", "runpod", "H100", 24),
        (TODAY + timedelta(days=1), "two", "runpod", "H100", 6),
    ]
    assert ledger.totals(booked, lambda e: e.fleet) == {"two": 30, "one": 6}
    assert ledger.totals(booked, lambda e: str(e.day)) == {"2026-11-23": 30, "2026-11-24": 6}
    assert [e.usd for e in ledger.day_costs(date(2026, 11, 24), date(2026, 11, 24))] == [6]


def test_a_new_price_and_the_rent_of_a_stopped_disk_count(time: SteppedClock) -> None:
    pod = a_pod(a_fleet(), READY, hourly_usd=Decimal(1))
    time.advance(HOUR)
    segments.reprice(pod, Decimal("0.01"), now=time.now)  # as a stop reprices it
    time.advance(10 * HOUR)
    assert sum(e.usd for e in ledger.day_costs(TODAY, TODAY)) == Decimal("1.1")


@given(
    hourly=st.decimals(0, 50, places=6),
    start=st.integers(0, 86_400 * 10**6),
    lasts=st.integers(0, 5 * 86_400 * 10**6),
)
def test_the_days_of_a_segment_add_up_to_its_booked_cost(
    hourly: Decimal, start: int, lasts: int
) -> None:
    since = NOON + timedelta(microseconds=start)
    until = since + timedelta(microseconds=lasts)
    segment = PriceSegment(hourly_usd=hourly, since=since, until=until)
    booked = cost_micros(hourly, until - since)
    days = list(ledger._by_day(hourly, since, until, booked))
    assert sum(micros for _, micros in days) == booked
    assert all(micros >= 0 for _, micros in days)
    assert int((segment.cost_usd(until) * MICROS).to_integral_value("ROUND_HALF_UP")) == booked


def test_the_ledger_agrees_with_the_sums_of_the_guardrails(time: SteppedClock) -> None:
    fleet = a_fleet()
    for n in range(7):
        pod = a_pod(fleet, READY, hourly_usd=Decimal("0.333333") * (n + 1))
        time.advance(3.7 * HOUR)
        if n % 2:
            end(pod)
    booked = ledger.day_costs(TODAY, time.now.date())
    counted = spending.spent_by_fleet(time.now)[fleet.pk]
    shown = spending.total_by_fleet(time.now)[fleet.pk]
    assert abs(shown - counted.total) <= Decimal("0.00001")
    assert abs(sum(e.usd for e in booked) - counted.total) < Decimal("0.00001")
    today = sum(e.usd for e in booked if e.day == time.now.date())
    assert abs(today - counted.today) < Decimal("0.00001")
    assert counted == spending.spent(time.now, fleet_id=fleet.pk)


def test_what_was_spent_falls_when_an_end_is_booked_at_its_earlier_moment(
    time: SteppedClock,
) -> None:
    pod = a_pod(a_fleet(), READY, hourly_usd=Decimal(6), destroy_asked_at=time.now)
    time.advance(600)
    assert spending.spent(time.now).today == 1
    end(pod)
    assert spending.spent(time.now).today == 0


def test_the_price_of_a_million_items_is_measured(time: SteppedClock) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet, READY, hourly_usd=Decimal("0.5"), gpu_type="L4")
    a_pod(fleet, READY, hourly_usd=Decimal("0.3"), gpu_type="A2")
    time.advance(2 * HOUR)
    Pod.objects.filter(pk=pod.pk).update(done=4_000_000)
    assert ledger.prices("fleet__name")["emb"].usd_per_million == Decimal("0.4")
    by_gpu = ledger.prices("gpu_type")
    assert by_gpu["L4"].usd_per_million == Decimal("0.25")
    assert by_gpu["A2"].usd_per_million is None


def test_the_forecast_of_today_uses_the_present_price(time: SteppedClock) -> None:
    fleet = a_fleet()
    end_soon = a_pod(fleet, READY, hourly_usd=Decimal(4))
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    time.advance(2 * HOUR)
    end(end_soon)
    expected = ledger.forecast(time.now)[fleet.pk]
    assert (expected.spent_usd, expected.hourly_usd, expected.expected_usd) == (10, 1, 20)


class Vendor:
    """A provider with the one call that the tests need."""

    capabilities = Capabilities(has_balance=True)

    def __init__(self) -> None:
        self.usd: Decimal | None = Decimal(100)

    def balance(self) -> Decimal | None:
        if self.usd is None:
            raise Unavailable("timeout")
        return self.usd


def test_the_difference_to_the_vendors_balance_is_shown(time: SteppedClock) -> None:
    vendor: Any = Vendor()
    account = an_account()
    a_pod(a_fleet(accounts=[account]), READY, hourly_usd=Decimal(1))
    read = lambda: balances.read_balance(account, connect=lambda _: vendor)  # noqa: E731
    read()
    assert balances.compare(account, since=NOON) is None
    time.advance(HOUR)
    vendor.usd = Decimal("98.75")
    read()
    time.advance(HOUR)
    vendor.usd = Decimal(150)  # somebody paid in: this hour cannot be compared
    read()
    time.advance(HOUR)
    vendor.usd = Decimal(149)
    read()
    compared = balances.compare(account, since=NOON)
    assert compared is not None
    assert (compared.vendor_usd, compared.booked_usd) == (Decimal("2.25"), 2)
    assert (compared.difference_usd, compared.left_out) == (Decimal("0.25"), 1)


def test_an_unknown_balance_is_not_stored(time: SteppedClock) -> None:
    vendor: Any = Vendor()
    vendor.usd = None
    assert balances.read_balance(an_account(), connect=lambda _: vendor) is None
    local = an_account()  # local pods have no balance
    assert balances.read_balance(local) is None
    assert not Balance.objects.exists()
