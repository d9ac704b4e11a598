"""Lists, logs and the balance at RunPod."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.providers.errors import Unavailable
from tests.support.rigs.runpod_rig import PODS, TAG, Rig, a_spec, runpod


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


@pytest.mark.parametrize("page_size", [None, 1, 2, 3, 100])
def test_a_list_with_and_without_pages_is_complete(page_size: int | None) -> None:
    with runpod(page_size=page_size) as rig:
        for n in range(5):
            rig.create(f"aa{n}", offer_key=rig.offer(gpu_types=["RTX 4090"]).key)
        found = [m.token for m in rig.provider.list_tagged(TAG)]
        assert sorted(found) == [f"aa{n}" for n in range(5)]


def test_only_what_carries_the_tag_is_listed(rig: Rig) -> None:
    offer = rig.offer(gpu_types=["RTX 4090"]).key
    for tag in (TAG, f"{TAG}8", "a-colleague"):
        rig.provider.create(a_spec("aa11", offer, tag=tag), token="aa11")
    assert [m.name for m in rig.provider.list_tagged(TAG)] == [f"{TAG}-aa11"]
    both = {m.name for m in rig.provider.list_tagged("pf-a1b2c3")}
    assert both == {f"{TAG}-aa11", f"{TAG}8-aa11"}


@pytest.mark.fault(30)
@pytest.mark.parametrize("change", ["one is created", "one is destroyed"])
def test_a_list_that_shifts_while_it_is_read_loses_and_doubles_no_pod(change: str) -> None:
    with runpod(page_size=2) as rig:
        key = rig.offer(gpu_types=["RTX 4090"], gpu_count=1).key.replace("COMMUNITY", "SECURE")
        for n in range(5):
            rig.provider.create(a_spec(f"aa{n}", key), token=f"aa{n}")
        living = {m.external_id for m in rig.provider.list_tagged(TAG)}
        newest = rig.state.living()[-1].id

        def shift(reply: Reply) -> Reply:
            if change == "one is created":
                rig.state.create(rig.state.pods[newest].request)
            else:
                rig.state.delete(newest)
            return reply

        rig.server.faults.edit("GET", PODS, shift)
        found = [m.external_id for m in rig.provider.list_tagged(TAG)]
        assert len(found) == len(set(found))
        assert set(found) >= living - {newest}


SPOILT_PAGES: dict[str, Any] = {
    "nothing": {},
    "null": None,
    "a bare list, as v1": [],
    "no pods": {"pagination": {"hasNextPage": False, "nextCursor": None}},
    "pods are null": {"pods": None},
    "pods are an object": {"pods": {}},
    "an error read as empty": {"pods": None, "error": "internal"},
    "a pod is null": {"pods": [None]},
    "a pod without an id": {"pods": [{"name": "x"}]},
    "a pod without a name": {"pods": [{"id": "x"}]},
    "it goes on, and does not say where": {"pods": [], "pagination": {"hasNextPage": True}},
    "it goes on at nothing": {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": ""}},
    "nobody knows whether it goes on": {"pods": [], "pagination": {"nextCursor": "x"}},
    "pages that are none": {"pods": [], "pagination": "yes"},
}


@pytest.mark.fault(30)
@pytest.mark.parametrize("body", SPOILT_PAGES.values(), ids=SPOILT_PAGES.keys())
def test_a_list_that_is_not_as_it_should_be_is_an_error_and_not_empty(rig: Rig, body: Any) -> None:
    rig.create()
    rig.server.faults.answer("GET", PODS, Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.list_tagged(TAG)


@pytest.mark.fault(30)
def test_a_cursor_that_does_not_move_is_an_error(rig: Rig) -> None:
    page = Reply(json={"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "same"}})
    rig.server.faults.answer("GET", PODS, page, times=100)
    with pytest.raises(Unavailable, match="does not move"):
        rig.provider.list_tagged(TAG)
    assert rig.server.calls("GET", PODS) == 2


@pytest.mark.fault(30)
@pytest.mark.parametrize("page", [1, 2])
def test_a_list_of_which_a_page_fails_is_an_error(page: int) -> None:
    with runpod(page_size=1) as rig:
        for token in ("aa11", "bb22"):
            rig.create(token)
        for _ in range(page - 1):
            rig.server.faults.edit("GET", PODS, lambda reply: reply)
        rig.server.faults.answer("GET", PODS, Reply(status=500, text="<html>"), times=3)
        with pytest.raises(Unavailable):
            rig.provider.list_tagged(TAG)


def test_logs_are_the_last_lines_of_the_container(rig: Rig) -> None:
    machine = rig.running()
    for n in range(5):
        rig.state.print_line(machine.external_id, f"line {n}")
    assert rig.provider.logs(machine.external_id, tail=2) == "line 3\nline 4"


@pytest.mark.fault(17)
def test_a_container_that_printed_nothing_shows_what_its_host_says(rig: Rig) -> None:
    machine = rig.create()
    rig.state.print_line(machine.external_id, "pull access denied", source="system")
    assert rig.provider.logs(machine.external_id).endswith("pull access denied")


@pytest.mark.fault(68)
def test_logs_have_no_control_characters_and_no_credentials(rig: Rig) -> None:
    machine = rig.running()
    rig.state.print_line(
        machine.external_id, "\x1b[2Jconnect redis://u:s3cretpassword@h/0\x07 <b>\x00"
    )
    text = rig.provider.logs(machine.external_id)
    assert text == " [2Jconnect redis://***@h/0  <b> "


def test_frames_that_are_cut_off_or_not_a_log_are_left_out(rig: Rig) -> None:
    machine = rig.running()
    text = 'data: {"line": "one"}\n\n: ping\n\nevent: x\ndata: 7\n\ndata: {"line": "tw'
    rig.server.faults.answer("GET", r".*/logs", Reply(text=text, content_type="text/event-stream"))
    assert rig.provider.logs(machine.external_id) == "one"


def test_the_balance_is_what_is_left(rig: Rig) -> None:
    rig.state.balance_usd = Decimal("41.27")
    assert rig.provider.balance() == Decimal("41.27")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(json={"errors": [{"message": "denied"}], "data": None}),
        Reply(json={"errors": [{"message": "denied"}], "data": {"myself": {"clientBalance": 5}}}),
        Reply(json={"data": {"myself": None}}),
        Reply(json={"data": {"myself": {"clientBalance": None}}}),
        Reply(json={"data": {"myself": {"clientBalance": "many"}}}),
        Reply(json=[]),
        Reply(status=403, json={"message": "denied"}),
        Reply(status=410, json={"message": "retired"}),
    ],
)
def test_a_balance_that_cannot_be_read_is_unknown_and_not_zero(rig: Rig, reply: Reply) -> None:
    rig.server.faults.answer("POST", "/graphql", reply)
    assert rig.provider.balance() is None
