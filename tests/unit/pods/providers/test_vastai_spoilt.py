"""Whatever Vast.ai answers, the adapter returns our values or raises our errors."""

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.providers.base import Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.errors import NotFound, ProviderError
from pods.providers.http import Answer, Timeouts
from pods.providers.vastai import Vastai
from pods.providers.vastai.options import Options
from tests.support.examples import examples

FIELDS = (
    *("success", "error", "msg", "detail", "message", "instances", "total_instances", "next_token"),
    *("offers", "new_contract", "result_url", "credit", "balance", "id", "ask_contract_id"),
    *("label", "actual_status", "intended_status", "cur_state", "next_state", "status_msg"),
    *("dph_total", "dph_base", "min_bid", "storage_cost", "gpu_ram", "num_gpus", "gpu_name"),
    *("geolocation", "duration", "start_date", "machine_id", "is_bid", "reliability2"),
)
WORDS = (
    *("running", "stopped", "unloaded", "exited", "loading", "auth_error", "no_such_ask"),
    *("no_such_instance", "not_found", "verified", "Quebec, CA", "https://x.example/a?b", ""),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**20),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    st.sampled_from(WORDS),
    st.text(max_size=20),
)
bodies = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8)
    ),
    max_leaves=30,
)
# Bodies that are valid enough to be read.
lists = st.fixed_dictionaries(
    {"instances": st.lists(bodies, max_size=3), "total_instances": st.integers(-1, 3)},
    optional={"next_token": leaves, "success": leaves},
)
searches = st.fixed_dictionaries({"offers": st.lists(bodies, max_size=3)})
ones = st.fixed_dictionaries({"instances": bodies})
answers = st.one_of(bodies, lists, searches, ones)
statuses = st.sampled_from([200, 201, 400, 401, 402, 403, 404, 409, 410, 422])


class Wire:
    """A vendor that gives the same answer to every request."""

    def __init__(self, status: int, body: Any) -> None:
        self.answer = Answer(what="a call", status=status, body=body)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        repeatable: bool | None = None,
        hide: Collection[str] = (),
        endpoint: str = "",
        timeouts: Timeouts | None = None,
    ) -> Answer:
        return self.answer


SPEC = PodSpec(name="pf-1-t", tag="pf-1", offer_key="7", image="i")
CALLS: dict[str, Callable[[Vastai], Any]] = {
    "offers": lambda p: p.offers(OfferQuery()),
    "create": lambda p: p.create(SPEC, token="t"),
    "status": lambda p: p.status("7"),
    "list_tagged": lambda p: p.list_tagged("pf"),
    "stop": lambda p: p.stop("7"),
    "start": lambda p: p.start("7"),
    "destroy": lambda p: p.destroy("7"),
    "balance": lambda p: p.balance(),
}


def is_ours(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(v, Machine | Offer) for v in value)
    return value is None or isinstance(value, Machine | Decimal)


@pytest.mark.fault(28)
@settings(max_examples=examples(500), deadline=None)
@given(method=st.sampled_from(sorted(CALLS)), status=statuses, body=answers)
def test_no_answer_gets_anything_but_values_and_errors_of_ours(
    method: str, status: int, body: Any
) -> None:
    said = ""
    try:
        assert is_ours(CALLS[method](Vastai(Wire(status, body), Options())))
    except ProviderError as exc:
        said = str(exc)
    assert said.isprintable()


@pytest.mark.fault(28)
@settings(max_examples=examples(500), deadline=None)
@given(
    row=st.dictionaries(st.sampled_from(FIELDS), leaves, min_size=10),
    number=st.integers(1, 10**12),
)
def test_a_row_of_odd_values_is_read_and_its_price_is_none_or_a_price(
    row: dict[str, Any], number: int
) -> None:
    odd = row | {"id": number, "ask_contract_id": number}
    machine = Vastai(Wire(200, {"instances": odd}), Options()).status(str(number))
    assert machine.hourly_usd is None or 0 <= machine.hourly_usd <= 10_000
    assert machine.phase is not Phase.GONE
    assert machine.because.isprintable()
    assert machine.name.isprintable()
    for offer in Vastai(Wire(200, {"offers": [odd]}), Options()).offers(OfferQuery(gpu_count=0)):
        assert 0 < offer.hourly_usd < 10_000


@pytest.mark.fault(35)
@settings(max_examples=examples(500), deadline=None)
@given(status=statuses, body=bodies)
def test_a_destroy_succeeds_only_by_a_success_or_a_word_for_gone(status: int, body: Any) -> None:
    try:
        Vastai(Wire(status, body), Options()).destroy("7")
    except ProviderError:
        return
    assert isinstance(body, dict)
    accepted = status < 300 and body.get("success") is not False
    assert accepted or body.get("error") in {"no_such_instance", "not_found"}


@pytest.mark.fault(30)
@settings(max_examples=examples(500), deadline=None)
@given(status=statuses, body=answers)
def test_an_empty_list_is_believed_only_when_it_says_that_it_is_empty(
    status: int, body: Any
) -> None:
    try:
        machines = Vastai(Wire(status, body), Options()).list_tagged("pf")
    except NotFound:
        pytest.fail("a list is never not found")
    except ProviderError:
        return
    assert status < 300
    assert len(machines) <= len(body["instances"])
    assert body["total_instances"] == len({row["id"] for row in body["instances"]})
