"""What handlers may answer, and what each answer changes for the next calls."""

import sys
from types import SimpleNamespace

import pytest

from pods.agent import calling, gpu_memory
from pods.agent.calling import Caller, Failed, HandlerNotFound, find
from pods.agent.fitting import NO_LIMITS
from pods.agent.forming import Limits
from pods.agent.handlers import each
from tests.support.little_memory import AtTheSameTime, KnowsCosts, Model, OutOfMemoryError, items


@pytest.mark.parametrize("name", ["json", "json:", ":loads", ""])
def test_a_name_without_both_parts_is_refused_with_what_would_be_right(name):
    with pytest.raises(HandlerNotFound, match=r"is not package\.module:function"):
        find(name)


def test_an_error_without_words_is_named_alone():
    assert Failed.of(KeyError()).error == "KeyError"
    assert Failed.of(KeyError("x")).error == "KeyError: 'x'"


def test_a_result_that_the_server_would_refuse_fails_its_item(monkeypatch):
    monkeypatch.setattr(calling, "LARGEST_RESULT_BYTES", 3)
    good, bad = Caller(lambda batch: [b"123", b"1234"])(items(b"a", b"b"))
    assert (good, bad.error) == (b"123", "a result of 4 bytes; at most 3 are stored")


@pytest.mark.parametrize(("said", "most"), [(-1, 0), (0, 0), (16, 16)])
def test_a_batch_size_that_makes_no_sense_is_no_preference(said, most):
    model = Model(memory=1000)
    model.batch_size = said
    assert Caller(model).batch_size == most


@pytest.mark.parametrize("said", [None, 0, -1.0, 50.0])
def test_a_handler_may_have_no_limit_of_the_cost_of_a_call(said):
    model = KnowsCosts(memory=1000)
    model.batch_cost = said
    Caller(model)(items(*[b"x" * 10] * 10))
    assert model.calls == ([5, 5] if said == 50.0 else [10])


@pytest.mark.parametrize("said", [float("inf"), float("nan"), -1, 0, "no number", None])
def test_a_cost_that_makes_no_sense_is_unknown(said):
    model = Model(memory=1000)
    model.cost = lambda item: said
    assert Caller(model)._costs(items(b"x")) == [0.0]


def test_what_fits_now_is_said_in_items_or_as_a_cost(capsys):
    Caller(Model(memory=4))(items(*[b"x"] * 8))
    Caller(KnowsCosts(memory=4))(items(*[b"x"] * 8))
    said = [line.rpartition("at most ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["4 items", "a cost of 4"]


def test_items_that_are_worked_on_one_after_the_other_prove_no_limit():
    caller = Caller(each(lambda item: b"r"))
    caller._fits = caller._fits.too_large([0.0] * 8)
    caller(items(*[b"x"] * 4))
    assert caller.newly_found() is None


@pytest.mark.parametrize("payloads", [[b"x"] * 4, [b"x", b"bad", b"x", b"x"]])
def test_only_a_lack_of_memory_makes_the_next_calls_smaller(payloads, capsys):
    handler = AtTheSameTime(memory=4)
    caller = Caller(handler)
    assert len(caller(items(*payloads))) == 4
    assert caller._fits.limits == NO_LIMITS
    assert len(handler.most) == 4  # none of them was tried again
    assert capsys.readouterr().err == ""


def test_a_handler_may_need_to_wait_for_some_items_only():
    async def later(item):
        return item.payload.upper()

    handler = each(lambda item: later(item) if item.payload == b"a" else item.payload)
    assert Caller(handler)(items(b"a", b"b")) == [b"A", b"b"]


@pytest.fixture
def torch(monkeypatch):
    """What the handler's library is asked."""
    asked = []
    cuda = SimpleNamespace(is_initialized=lambda: True, empty_cache=lambda: asked.append("empty"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    return SimpleNamespace(asked=asked, cuda=cuda)


def test_memory_is_freed_where_the_handler_has_used_the_gpu(torch, monkeypatch):
    gpu_memory.free()
    assert torch.asked == ["empty"]
    torch.cuda.is_initialized = lambda: False
    gpu_memory.free()  # it would take memory of the GPU
    monkeypatch.setitem(sys.modules, "torch", None)
    gpu_memory.free()
    assert torch.asked == ["empty"]


@pytest.mark.parametrize(("error", "freed"), [(OutOfMemoryError("o"), 1), (ValueError("v"), 0)])
def test_memory_is_freed_after_an_item_that_is_alone_and_does_not_fit(torch, error, freed):
    def handler(item):
        raise error

    [failed] = Caller(each(handler))(items(b"x"))
    assert isinstance(failed, Failed)
    assert len(torch.asked) == freed


def test_a_limit_that_was_taken_over_holds_for_items_at_the_same_time():
    handler = AtTheSameTime(memory=2)
    caller = Caller(handler)
    caller.take_over(Limits(2))
    caller(items(*[b"x"] * 4))
    assert max(handler.most) == 2
