"""A bad item does not harm the others, whatever form the handler has."""

import asyncio
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.calling import Caller, Failed, HandlerNotFound, find, outcome
from pods.agent.handlers import Fields, Item, MissingField, each
from pods.agent.handlers.pace import Pace
from tests.support.waiting import patience


def items(*payloads):
    return [
        Item(entry=f"{n}-0", fields={b"payload": payload}) for n, payload in enumerate(payloads)
    ]


@given(st.lists(st.booleans(), max_size=70))
def test_a_batch_that_raises_fails_only_its_bad_items(bad):
    def handler(batch):
        if any(item.payload == b"bad" for item in batch):
            raise ValueError("bad item")
        return [item.entry for item in batch]

    batch = items(*(b"bad" if is_bad else b"good" for is_bad in bad))
    outcomes = Caller(handler)(batch)
    assert [isinstance(o, Failed) for o in outcomes] == bad
    assert [o for o in outcomes if isinstance(o, bytes)] == [
        item.entry.encode() for item, is_bad in zip(batch, bad, strict=True) if not is_bad
    ]


def test_one_bad_item_of_64_costs_a_few_calls_and_not_64():
    calls = []

    def handler(batch):
        calls.append(len(batch))
        if any(item.payload == b"bad" for item in batch):
            raise ValueError
        return [b""] * len(batch)

    Caller(handler)(items(*[b"good"] * 63, b"bad"))
    assert len(calls) == 13


def test_a_returned_exception_fails_its_item_with_its_own_words():
    outcomes = Caller(lambda batch: [b"ok", KeyError("lost")])(items(b"a", b"b"))
    assert outcomes[0] == b"ok"
    assert outcomes[1].error == "KeyError: 'lost'"


def test_a_wrong_number_of_results_publishes_nothing_under_a_wrong_id():
    outcomes = Caller(lambda batch: [b"one", b"two", b"three"])(items(b"a", b"b"))
    assert all(isinstance(o, Failed) for o in outcomes)
    assert "returned 3 results for 1 items" in outcomes[0].error


@pytest.mark.parametrize("answer", ["text", b"bytes", {"a": 1}, None, 5])
def test_an_answer_that_is_not_a_list_of_results_is_an_error(answer):
    [failed] = Caller(lambda batch: answer)(items(b"a"))
    assert "not a list" in failed.error


def test_every_shape_of_handler_is_called_as_it_wants():
    @each
    def single(item):
        return item.payload

    @each
    async def single_async(item):
        await asyncio.sleep(0)
        return item.payload

    async def batch_async(batch):
        await asyncio.sleep(0)
        return [item.payload for item in batch]

    class AsyncObject:
        takes_one_item = True

        async def __call__(self, item):
            return item.payload

    for handler in (single, single_async, batch_async, AsyncObject()):
        assert Caller(handler)(items(b"a", b"b")) == [b"a", b"b"]


def test_async_single_items_are_worked_on_at_the_same_time():
    both = asyncio.Barrier(2)

    @each
    async def meets_the_other(item):
        await asyncio.wait_for(both.wait(), patience(5))
        return b"met"

    assert Caller(meets_the_other)(items(b"a", b"b")) == [b"met", b"met"]


def test_setup_and_teardown_are_called_also_when_they_are_async():
    class Handler:
        said = ()

        async def setup(self):
            self.said += ("up",)

        def teardown(self):
            self.said += ("down",)

        def __call__(self, batch):
            return []

    handler = Handler()
    caller = Caller(handler)
    caller.setup()
    caller.teardown()
    assert handler.said == ("up", "down")


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        (b"\x00raw", b"\x00raw"),
        ("Grüße", "Grüße".encode()),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        (None, b"null"),
        (bytearray(b"x"), b"x"),
        ({"v": types.SimpleNamespace(tolist=lambda: [1.5])}, b'{"v":[1.5]}'),
    ],
)
def test_a_result_is_stored_as_bytes_text_or_json(result, stored):
    assert outcome(result) == stored


@pytest.mark.parametrize("result", [float("nan"), object(), {1, 2}, "\ud800"])
def test_a_result_that_cannot_be_stored_fails_its_item(result):
    assert isinstance(outcome(result), Failed)


def test_the_tail_of_a_long_traceback_is_kept():
    failed = Failed.of(ValueError("x" * 100_000))
    assert len(failed.error) == 2_000
    assert len(failed.traceback) == 16_000


@pytest.mark.parametrize("name", ["json", "json:", ":f", "json:nothing", "json:__doc__"])
def test_a_missing_handler_is_reported(name):
    with pytest.raises(HandlerNotFound):
        find(name)


def test_a_class_is_made_an_object(monkeypatch):
    class Doubles:
        def __call__(self, batch):
            return [item.payload * 2 for item in batch]

    monkeypatch.setitem(sys.modules, "users_module", types.SimpleNamespace(Doubles=Doubles))
    assert Caller(find("users_module:Doubles"))(items(b"a")) == [b"aa"]


def test_an_item_without_an_id_goes_by_its_entry():
    assert Item(entry="5-1", fields={}).id == "5-1"
    assert Item(entry="5-1", fields={b"id": b"mine"}).id == "mine"


def test_a_pace_without_a_rate_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        Pace(0)


def test_a_missing_field_fails_its_item_for_good_and_names_what_it_has():
    items = [Item("1-0", Fields({b"payload": b"x"})), Item("2-0", Fields({b"text": b"y"}))]
    good, bad = Caller(lambda batch: [item.payload for item in batch])(items)
    assert good == b"x"
    assert (bad.error, bad.final) == (
        "MissingField: the item has no field payload; it has text",
        True,
    )


def test_an_item_of_a_plain_dict_has_the_same_error():
    with pytest.raises(MissingField, match="no field payload; it has none"):
        Item("1-0", {}).text  # noqa: B018 - it is the access that fails


def test_a_missing_field_can_be_asked_for_and_caught_as_of_any_dict():
    fields = Fields({b"a": b"1"})
    assert fields.get(b"b") is None
    with pytest.raises(KeyError):
        fields[b"b"]
    many = MissingField(b"x", [b"f%d" % n for n in range(30)])
    assert str(many).endswith("and 10 more")


def test_another_error_may_be_tried_again():
    assert not Failed.of(KeyError("x")).final
