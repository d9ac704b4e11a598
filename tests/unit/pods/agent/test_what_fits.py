"""What a process knows about the size of its calls, and what Redis keeps of it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.calling import Caller
from pods.agent.fitting import (
    CALLS_BEFORE_GROWTH,
    KEPT_MS,
    LARGEST_COST,
    LARGEST_ITEMS,
    NO_LIMITS,
    Fitting,
    parsed,
    smaller,
    written,
)
from pods.agent.forming import Limits
from pods.agent.protocol import AgentSettings
from pods.agent.remembering import work_of
from tests.support.little_memory import AtTheSameTime, KnowsCosts, Model, items

NOW_MS = 1_764_600_000_000
LIMITS = st.builds(
    Limits,
    st.integers(0, LARGEST_ITEMS),
    st.just(0.0) | st.floats(0, LARGEST_COST, exclude_min=True),
)


@given(LIMITS, st.integers(0, KEPT_MS))
def test_limits_that_were_written_can_be_read_for_a_week(limits, age_ms):
    raw = written(limits, NOW_MS)
    assert len(raw) < 100
    assert parsed(raw, NOW_MS + age_ms) == limits


def test_limits_are_forgotten_after_a_week():
    assert parsed(written(Limits(4), NOW_MS), NOW_MS + KEPT_MS + 1) == NO_LIMITS


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"4",
        b"four 0.0 %d" % NOW_MS,
        b"-4 0.0 %d" % NOW_MS,
        b"4 -1.0 %d" % NOW_MS,
        b"0 nan %d" % NOW_MS,
        b"0 inf %d" % NOW_MS,
        b"0 1e300 %d" % NOW_MS,
        b"4.5 0.0 %d" % NOW_MS,
        b"%d 0.0 %d" % (LARGEST_ITEMS + 1, NOW_MS),
        b"4 0.0 %d" % (10 * NOW_MS),
        b"4 0.0 -1",
        b"4 0.0 %d more" % NOW_MS,
        b"\xff\x00 0.0 1",
        b"9" * 5000 + b" 0.0 1",
    ],
)
def test_what_a_pod_wrote_that_is_nonsense_limits_nobody(raw):
    assert parsed(raw, NOW_MS) == NO_LIMITS


@given(st.binary(max_size=100))
def test_any_bytes_can_be_read(raw):
    limits = parsed(raw, NOW_MS)
    assert 0 <= limits.items <= LARGEST_ITEMS
    assert 0 <= limits.cost <= LARGEST_COST


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Limits(), Limits(16, 5.0), Limits(16, 5.0)),
        (Limits(4), Limits(16, 5.0), Limits(4, 5.0)),
        (Limits(4, 8.0), Limits(cost=5.0), Limits(4, 5.0)),
    ],
)
def test_the_smaller_limit_of_each_kind_counts_and_0_is_none(one, other, both):
    assert smaller(one, other) == smaller(other, one) == both


@pytest.mark.parametrize(
    ("known", "costs", "less"),
    [
        (Limits(16), [100.0] * 8, Limits(16, 400.0)),
        (Limits(cost=400.0), [0.0] * 8, Limits(4, 400.0)),
    ],
)
def test_a_call_that_does_not_fit_leaves_the_limit_of_the_other_kind(known, costs, less):
    assert Fitting(known).too_large(costs).limits == less


def test_costs_are_not_limited_where_only_a_number_of_items_failed():
    assert after_calls(Fitting(Limits(16)), CALLS_BEFORE_GROWTH, 16, 5.0) == Fitting(Limits(32))


@given(LIMITS, LIMITS, st.integers(1, 1000), st.floats(0, 1e6))
def test_a_call_is_allowed_by_the_smaller_limits_where_both_allow_it(one, other, count, cost):
    both = one.allow(count, cost) and other.allow(count, cost)
    assert smaller(one, other).allow(count, cost) == both


def test_a_limit_is_news_once_a_call_of_about_its_size_fitted():
    model = Model(memory=20)
    caller = Caller(model)
    assert caller.newly_found() is None
    caller(items(*[b"x"] * 64))
    assert caller.newly_found() == Limits(16)
    assert caller.newly_found() is None
    caller(items(*[b"x"] * 64))
    assert caller.newly_found() is None


def test_a_small_call_proves_no_limit():
    caller = Caller(KnowsCosts(memory=400))
    caller._fits = caller._fits.too_large([100.0] * 8)
    caller(items(b"x" * 200))
    assert caller.newly_found() is None
    caller(items(*[b"x" * 100] * 4))
    assert caller.newly_found() == Limits(cost=400.0)


def test_a_call_with_a_bad_item_proves_no_limit():
    caller = Caller(Model(memory=24))
    caller._fits = caller._fits.too_large([0.0] * 16)
    caller(items(*[b"one"] * 7, b"bad"))
    assert caller.newly_found() is None


def test_items_that_are_worked_on_at_the_same_time_are_news_too():
    caller = Caller(AtTheSameTime(memory=4))
    caller(items(*[b"%d" % n for n in range(16)]))
    assert caller.newly_found() == caller._fits.limits


def test_a_handler_that_takes_over_what_fits_makes_no_failed_call():
    model = Model(memory=20)
    caller = Caller(model)
    caller.take_over(Limits(16))
    caller(items(*[b"x"] * 64))
    assert model.calls == [16] * 4
    assert caller.newly_found() is None


def after_calls(fits, calls, count, largest=0.0):
    for _ in range(calls):
        fits = fits.fitted(count, largest)
    return fits


def test_a_limit_of_another_pod_is_doubled_after_many_calls_of_about_its_size():
    fits = Fitting(Limits(16))
    assert after_calls(fits, 10 * CALLS_BEFORE_GROWTH, 8) == fits
    assert after_calls(fits, CALLS_BEFORE_GROWTH - 1, 16).limits == Limits(16)
    assert after_calls(fits, CALLS_BEFORE_GROWTH, 16) == Fitting(Limits(32))


def test_a_limit_far_too_small_is_doubled_from_what_fits():
    fits = Fitting(Limits(cost=1e-300))
    assert after_calls(fits, CALLS_BEFORE_GROWTH, 1, 500.0).limits == Limits(cost=1000.0)


def test_a_limit_that_this_process_found_is_not_doubled():
    fits = NO_FITTING.too_large([0.0] * 32)
    assert after_calls(fits, 10 * CALLS_BEFORE_GROWTH, 16).limits == Limits(16)


def test_a_limit_that_was_doubled_in_vain_is_found_here():
    fits = after_calls(Fitting(Limits(16)), CALLS_BEFORE_GROWTH, 16)
    fits = fits.too_large([0.0] * 32).fitted(16, 0.0)
    assert fits == Fitting(Limits(16), found_here=True, proven=True)


NO_FITTING = Fitting()
SETTINGS = AgentSettings(
    redis_url="redis://h", fleet="f", pod="p", stream="s", group="g", handler="m:f"
)


def test_another_template_handler_code_or_model_has_a_field_of_its_own():
    names = {
        work_of(SETTINGS, {}),
        work_of(SETTINGS, {"HANDLER_MODEL": "org/large"}),
        *(
            work_of(dataclasses.replace(SETTINGS, **change), {})
            for change in ({"template": "t"}, {"bundle": "b"}, {"handler": "m:g"})
        ),
    }
    assert len(names) == 5
    assert work_of(dataclasses.replace(SETTINGS, pod="q", batch_size=3), {}) in names
