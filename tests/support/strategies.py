"""Hypothesis strategies for the tests of decisions: values near the limits."""

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st

from fleet.decision.values import (
    Caps,
    Elsewhere,
    Mode,
    Override,
    PodFacts,
    Policy,
    RowsFailed,
    Snapshot,
)
from pods.bottleneck import Bottleneck
from pods.states import BILLABLE
from tests.support.examples import examples
from tests.support.factories import NOON, hours, offer_facts, pod_facts, policy, seconds, snapshot

EXAMPLES = settings(max_examples=examples(500), deadline=None)
prices = st.sampled_from(["0", "0.01", "0.34", "0.5", "1.999999", "2"]).map(Decimal)
limits = st.none() | st.sampled_from(["0.0001", "0.5", "1", "1.02", "2", "7.5"]).map(Decimal)
ages = st.sampled_from([0.0, 0.5, 1, 23.9, 24, 25]).map(hours)
idles = st.none() | st.sampled_from([0, 1, 119, 120, 121, 900]).map(seconds)
# Made once: to make a strategy costs more than to draw from it.
states = st.sampled_from(sorted(BILLABLE))
in_flights = st.sampled_from([None, 0, 5])
shares = st.sampled_from([None, 0.0, 0.2, 0.499, 0.5, 0.95])
words = st.sampled_from(Bottleneck)
ready_times = st.none() | st.sampled_from([29, 30, 3600]).map(seconds)
waits = st.none() | st.sampled_from([0, 29, 30, 3600]).map(seconds)
pod_rates = st.sampled_from([None, 0.0, 8.0, 9.5])
depths = st.none() | st.sampled_from([0, 1, 99, 100, 101, 900, 1000, 1001, 10**10])
ranges_left = st.sampled_from([None, None, None, 0, 1, 3, 1000])
failed_rows = st.sampled_from(
    [None, None, None, RowsFailed(failed=50, rows=1000), RowsFailed(failed=51, rows=1000)]
)
fleet_rates = st.sampled_from([None, 0.5, 24.0])
boot_times = st.none() | st.sampled_from([1, 60, 600]).map(seconds)
least_busy = st.sampled_from([0, 50, 100])
target_depths = st.sampled_from([1, 100, 10**9])
pod_ages = st.none() | st.just(hours(24))
modes = st.sampled_from(list(Mode))
overrides = st.none() | st.builds(
    Override,
    pods=st.integers(0, 12),
    until=st.sampled_from([NOON - seconds(1), NOON + seconds(1)]),
    by=st.just("ann"),
    because=st.just("a test"),
)
installation_pods = st.none() | st.integers(0, 8)


@st.composite
def pods(draw: st.DrawFn, count: int) -> tuple[PodFacts, ...]:
    return tuple(
        pod_facts(
            n,
            draw(states),
            hourly_usd=draw(prices),
            age=draw(ages),
            idle_for=draw(idles),
            in_flight=draw(in_flights),
            items_per_second=draw(pod_rates),
            ready_for=draw(ready_times),
            busy=draw(shares),
            bottleneck=draw(words),
        )
        for n in range(count)
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    return snapshot(
        draw(depths),
        pods=draw(pods(draw(st.integers(0, 6)))),
        orphans=draw(st.integers(0, 2)),
        orphans_hourly_usd=draw(prices),
        offers=tuple(
            offer_facts(f"o{n}", hourly_usd=draw(prices)) for n in range(draw(st.integers(0, 6)))
        ),
        spent_today_usd=draw(prices),
        spent_total_usd=draw(prices),
        proven=draw(st.booleans()),
        items_per_second=draw(fleet_rates),
        boot_time=draw(boot_times),
        waiting_for=draw(waits),
        ranges=draw(ranges_left),
        rows_failed=draw(failed_rows),
        elsewhere=Elsewhere(
            pods=draw(st.integers(0, 3)),
            hourly_usd=draw(prices),
            spent_today_usd=draw(prices),
        ),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    least = draw(st.integers(0, 3))
    return policy(
        target_depth_per_pod=draw(target_depths),
        min_instances=least,
        max_instances=least + draw(st.integers(0, 5)),
        spawn_per_tick=draw(st.integers(1, 4)),
        max_pod_age=draw(pod_ages),
        max_hourly_usd=draw(limits),
        daily_budget_usd=draw(limits),
        total_budget_usd=draw(limits),
        min_busy_percent=draw(least_busy),
        mode=draw(modes),
        override=draw(overrides),
        installation=Caps(
            max_instances=draw(installation_pods),
            max_hourly_usd=draw(limits),
            daily_budget_usd=draw(limits),
        ),
        installation_mode=draw(modes),
    )
