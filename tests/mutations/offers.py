"""The lines about what is rented: the age, price and fit of offers, and what is received."""

from typing import Final

from tests.mutations.mutation import Mutation

SUPPLY = "tests/integration/fleet/tick/test_supply.py::"
VAST = "tests/contract/test_vastai_market.py::"
RUNPOD = "tests/contract/test_runpod_offers.py::"
SURVEYS = "tests/integration/pods/accounts/test_surveying.py::"
ORDERED = "tests/integration/pods/test_not_as_ordered.py::"
PLACEMENT = "tests/unit/fleet/decision/test_placement.py::"

OFFERS: Final = (
    Mutation(
        name="no-old-offers",
        file="fleet/tick/market.py",
        before="[s for s in own if s.is_fresh(now)]",
        after="own",
        tests=(SUPPLY + "test_a_tick_does_not_rent_by_an_old_offer_and_says_so",),
    ),
    Mutation(
        name="the-newer-reading-counts",
        file="fleet/tick/market.py",
        before="        fresh = [f for f in facts if _identity(f) not in shown]\n",
        after="        fresh = facts\n",
        tests=(SUPPLY + "test_the_newer_reading_of_a_machine_counts",),
    ),
    Mutation(
        name="no-bid-above-on-demand",
        file="pods/providers/vastai/market.py",
        before="bid = min(bid, firm_usd.quantize(MIN_BID, rounding=ROUND_DOWN))",
        after="pass",
        tests=(VAST + "test_no_bid_exceeds_the_price_on_demand",),
    ),
    Mutation(
        name="disk-of-the-host",
        file="fleet/decision/placement.py",
        before="            offer.largest_disk_gb is None or offer.largest_disk_gb >= wanted.disk_gb,\n",
        after="",
        tests=(PLACEMENT + "test_an_offer_without_the_disk_that_a_pod_needs_does_not_fit",),
    ),
    Mutation(
        name="wishes-take-turns",
        file="pods/accounts/surveying.py",
        before="    turns.sort(key=lambda turn: (turn[0] is not None, turn[0]))\n",
        after="    turns.reverse()\n",
        tests=(SURVEYS + "test_wishes_and_the_market_take_turns_where_the_rate_does_not_last",),
    ),
    Mutation(
        name="keep-a-fresh-reading",
        file="pods/accounts/surveying.py",
        before='if getattr(found, "cut_short", False) and not first and last.offers',
        after="if False and last.offers",
        tests=(
            SURVEYS
            + "test_a_reading_that_others_cut_short_replaces_no_fresh_one_and_is_first_the_next_time",
        ),
    ),
    Mutation(
        name="no-wishes-of-a-price-list",
        file="pods/accounts/surveying.py",
        before="    whole = _has_all(account, shared_now())\n",
        after="    whole = False\n",
        tests=(SUPPLY + "test_an_account_whose_market_is_read_whole_is_not_asked_for_wishes",),
    ),
    Mutation(
        name="keep-the-pages-that-were-read",
        file="pods/providers/vastai/searching.py",
        before="                if not any(p.rows for p in kinds if p.counts):\n",
        after="                if True:\n",
        tests=(VAST + "test_what_was_read_is_kept_when_the_rate_runs_out",),
    ),
    Mutation(
        name="no-place-for-the-community",
        file="pods/providers/runpod/mapping.py",
        before="    if place and cloud != UNPLACED:\n",
        after="    if place:\n",
        tests=(RUNPOD + "test_only_the_secure_cloud_is_asked_for_a_data_center",),
    ),
    Mutation(
        name="received-as-ordered",
        file="pods/diagnosis.py",
        before="    if facts.lacks and facts.machine is MachineSays.RUNNING:\n",
        after="    if False:\n",
        tests=(
            ORDERED
            + "test_a_pod_that_comes_back_without_gpus_is_ended_and_an_event_says_what_was_got",
        ),
    ),
    Mutation(
        name="the-order-stays-in-the-row",
        file="pods/spawning.py",
        before='("gpu_type", "" if pod.gpu_type else machine.gpu_type[:80])',
        after='("gpu_type", machine.gpu_type[:80])',
        tests=(ORDERED + "test_the_order_of_a_pod_is_not_overwritten_by_what_was_received",),
    ),
)
