"""Calls are formed by cost, and a call that does not fit into the GPU's memory costs no try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent import gpu_memory
from pods.agent.calling import Caller, Failed
from pods.agent.forming import CALLS_AHEAD, Limits, formed
from pods.agent.handlers import BadItem, Fields, Item, each
from tests.support.little_memory import AtTheSameTime, KnowsCosts, Model, OutOfMemoryError, items

COSTS = st.lists(st.floats(0, 1000), max_size=100)


@given(COSTS, st.integers(0, 20), st.one_of(st.just(0.0), st.floats(1, 5000)))
def test_each_item_is_in_one_call_and_no_call_is_larger_than_allowed(costs, most, most_cost):
    calls = formed(range(len(costs)), costs, Limits(most, most_cost))
    assert sorted(place for call in calls for place in call) == list(range(len(costs)))
    for call in calls:
        assert call
        assert not most or len(call) <= most
        padded = len(call) * max(costs[place] for place in call)
        assert len(call) == 1 or not most_cost or padded <= most_cost


@given(COSTS)
def test_the_dearest_items_are_first_and_calls_hold_neighbours(costs):
    order = [costs[place] for call in formed(range(len(costs)), costs, Limits(4)) for place in call]
    assert order == sorted(costs, reverse=True)


@given(COSTS)
def test_padding_costs_at_most_half_of_what_the_items_cost_alone(costs):
    for call in formed(range(len(costs)), costs, Limits()):
        alone = [costs[place] for place in call]
        assert len(call) * max(alone) <= 1.5 * sum(alone) + 1e-9


def test_full_calls_of_sorted_items_are_not_divided():
    costs = [float(n) for n in range(50, 562)]
    assert [len(call) for call in formed(range(512), costs, Limits(64))] == [64] * 8


def test_without_costs_the_order_stays():
    assert formed(range(5), [0.0] * 5, Limits(2)) == [[0, 1], [2, 3], [4]]


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=100))
def test_a_call_that_was_too_large_is_not_made_again(costs):
    less = Limits().halved(costs)
    assert all(len(call) < len(costs) for call in formed(range(len(costs)), costs, less))


def test_a_batch_that_does_not_fit_is_halved_and_no_item_fails(capfd):
    model = Model(memory=20)
    caller = Caller(model)
    batch = items(*[b"x"] * 64)
    assert caller(batch) == [b"X"] * 64
    assert model.calls == [64, 32, 16, 16, 16, 16]
    assert "32 items do not fit into the GPU's memory; a call now has at most 16 items" in (
        capfd.readouterr().err
    )
    model.calls.clear()
    caller(batch)
    assert model.calls == [16] * 4  # remembered


def test_short_items_still_go_together_after_long_ones_did_not_fit():
    model = KnowsCosts(memory=400)
    caller = Caller(model)
    long = items(*[b"x" * 100] * 8)
    assert caller(long) == [b"X" * 100] * 8
    model.calls.clear()
    assert caller(items(*[b"x"] * 64)) == [b"X"] * 64
    assert model.calls == [64]


def test_an_item_that_does_not_fit_alone_fails_with_what_the_library_said():
    good, large = Caller(Model(memory=5))(items(b"ok", b"x" * 6))
    assert good == b"OK"
    assert isinstance(large, Failed)
    assert large.error.startswith("OutOfMemoryError: CUDA out of memory")
    assert not large.final


def test_bad_items_are_found_in_calls_that_had_to_be_smaller():
    outcomes = Caller(Model(memory=24))(items(*[b"one", b"bad"] * 8))
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True] * 8


def test_the_results_keep_the_order_of_the_items():
    model = KnowsCosts(memory=10_000)
    model.batch_size = 3
    payloads = [b"x" * n for n in (5, 1, 9, 2, 7, 3, 8)]
    assert Caller(model)(items(*payloads)) == [payload.upper() for payload in payloads]
    assert model.calls == [3, 3, 1]


def test_the_fleets_limit_and_the_cost_of_a_call_hold():
    model = KnowsCosts(memory=10_000)
    model.batch_size, model.batch_cost = 100, 50
    Caller(model, most_items=4)(items(*[b"x" * 20] * 4, *[b"x"] * 10))
    assert model.calls == [2, 2, 4, 4, 2]


def test_items_for_several_calls_come_at_once_only_where_they_are_sorted():
    assert Caller(Model(1)).calls_ahead == 1
    assert Caller(KnowsCosts(1)).calls_ahead == CALLS_AHEAD


def test_a_handler_may_know_its_batch_size_only_after_its_setup():
    class Learns(Model):
        def setup(self):
            self.batch_size = 7

    caller = Caller(Learns(1))
    assert caller.batch_size == 0
    caller.setup()
    assert caller.batch_size == 7


def test_an_item_whose_cost_cannot_be_said_fails_as_always():
    outcomes = Caller(KnowsCosts(memory=100))(
        [*items(b"ok"), Item("9-0", Fields({b"other": b"1"}))]
    )
    assert outcomes[0] == b"OK"
    assert "has no field payload" in outcomes[1].error


def test_a_bad_item_is_a_dead_letter_at_once():
    [failed] = Caller(lambda batch: [BadItem("the image cannot be read")])(items(b"x"))
    assert failed.final
    assert failed.error == "BadItem: the image cannot be read"


def test_fewer_items_are_worked_on_at_the_same_time_if_all_do_not_fit(capfd):
    handler = AtTheSameTime(memory=4)
    caller = Caller(handler)
    payloads = [b"%d" % n for n in range(16)]
    assert caller(items(*payloads)) == payloads
    assert "16 items do not fit into the GPU's memory" in capfd.readouterr().err
    handler.most.clear()
    assert caller(items(*payloads)) == payloads
    assert max(handler.most) <= 8  # remembered


def test_one_item_that_does_not_fit_or_is_bad_fails_alone_among_others():
    outcomes = Caller(AtTheSameTime(memory=4))(items(b"a", b"large", b"bad", b"b"))
    assert (outcomes[0], outcomes[3]) == (b"A", b"B")
    assert outcomes[1].error.startswith("OutOfMemoryError")
    assert outcomes[2].error == "ValueError: a bad item"


def test_an_item_of_a_handler_that_takes_one_after_the_other_is_tried_once():
    seen = []

    @each
    def handle(item):
        seen.append(item.payload)
        raise OutOfMemoryError("CUDA out of memory")

    assert all(isinstance(outcome, Failed) for outcome in Caller(handle)(items(b"a", b"b")))
    assert seen == [b"a", b"b"]


def error_of(module, name, base, text):
    return type(name, (base,), {"__module__": module})(text)


@pytest.mark.parametrize(
    "exc",
    [
        error_of("torch", "OutOfMemoryError", RuntimeError, "any words"),
        error_of("torch.cuda", "OutOfMemoryError", RuntimeError, "any words"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA failed with error out of memory"),
        error_of(
            "onnxruntime.capi.onnxruntime_pybind11_state",
            "RuntimeException",
            Exception,
            "Failed to allocate memory for requested buffer of size 123",
        ),
    ],
)
def test_the_errors_of_libraries_for_too_little_memory_are_known(exc):
    assert gpu_memory.is_out_of_memory(exc)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("out of memory"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        KeyError("OutOfMemoryError"),
    ],
)
def test_other_errors_are_not_taken_for_too_little_memory(exc):
    assert not gpu_memory.is_out_of_memory(exc)
