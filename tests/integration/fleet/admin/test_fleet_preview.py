"""The preview beside the form of a fleet: the verb of the tick with values that are not saved."""

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import ticking
from pods.base.redis import make_consumer_group, redis_client
from pods.models import Pod
from pods.states import READY
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.waiting import patience

pytestmark = pytest.mark.django_db
NEW = {
    "seen_version": "0", "name": "new", "handler": "a:b", "mode": "running", "stream": "emb",
    "group": "emb", "no_hourly_limit": "on", "no_daily_limit": "on",
}  # fmt: skip


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def preview(client: Client, fleet: Fleet, **typed: Any) -> str:
    url = reverse("admin:fleet_fleet_preview", args=[fleet.pk])
    answer = client.post(url, {**fields_of(fleet, user="operator"), **typed})
    assert answer.status_code == 200
    return " ".join(html.unescape(answer.content.decode()).replace("<strong>", "").split())


def items(redis_url: str, count: int, stream: str = "emb") -> None:
    client = redis_client(redis_url)
    for n in range(count):
        client.xadd(stream, {"payload": str(n)})


def test_a_preview_shows_what_the_typed_values_would_do_and_writes_nothing(
    operator: Client, redis_url: str
) -> None:
    fleet = a_fleet(stream="emb", group="emb", max_instances=2, target_depth_per_pod=1)
    operating.make_group(fleet)
    one, two = a_pod(fleet, READY), a_pod(fleet, READY)
    items(redis_url, 5)
    said = preview(operator, fleet, max_instances="1")
    assert "the next tick ends 1 pod now" in said
    assert 'holds at 1 of 5 wanted: <a href="#id_max_instances">Max pods</a>.' in said
    assert "5 items wait. No pod has shown yet how fast it works." in said
    assert "Its accounts cost nothing." in said
    fleet.refresh_from_db()
    assert (fleet.max_instances, fleet.version, Tick.objects.count()) == (2, 0, 0)
    assert {p.state for p in Pod.objects.all()} == {"ready"}
    assert {one.pk, two.pk} == set(Pod.objects.values_list("pk", flat=True))


def test_a_preview_of_money_names_the_worst_case(operator: Client, redis_url: str) -> None:
    vendor = an_account("runpod")
    fleet = a_fleet(stream="emb", image="agent:1", accounts=[vendor])
    typed = {"accounts": [vendor.pk], "max_hourly_usd": "0.4", "daily_budget_usd": "2"}
    assert "At worst $0.40/h and $2.00 a day." in preview(operator, fleet, **typed)
    assert "No limit stops its spending." in preview(operator, fleet, accounts=[vendor.pk])


def test_a_new_fleet_is_foreseen_without_a_row(operator: Client, redis_url: str) -> None:
    own = an_account("local", offers=[OFFER])
    items(redis_url, 3)
    make_consumer_group(redis_client(redis_url), "emb", "emb")
    url = reverse("admin:fleet_fleet_preview_new")
    form = operator.get(reverse("admin:fleet_fleet_add")).context["adminform"].form
    sent = {f.html_name: "" if f.value() is None else f.value() for f in form}
    answer = operator.post(url, {**sent, **NEW, "accounts": [own.pk]})
    assert "starts 1 pod" in answer.content.decode()
    assert not Fleet.objects.exists()


def test_a_new_fleet_whose_stream_does_not_exist_yet_has_no_items(
    operator: Client, redis_url: str
) -> None:
    own = an_account("local", offers=[OFFER])
    form = operator.get(reverse("admin:fleet_fleet_add")).context["adminform"].form
    sent = {f.html_name: "" if f.value() is None else f.value() for f in form}
    url = reverse("admin:fleet_fleet_preview_new")
    said = operator.post(url, {**sent, **NEW, "accounts": [own.pk]}).content.decode()
    assert "0 items: the stream does not exist yet." in said
    assert "Unknown" not in said
    assert "starts and ends no pod" in said


def test_the_lost_stream_of_a_saved_fleet_is_unknown_as_its_tick_says_too(
    operator: Client, redis_url: str
) -> None:
    fleet = a_fleet(stream="emb", group="emb")
    assert "Unknown: there is no stream emb" in preview(operator, fleet)
    assert "there is no stream emb" in ticking.preview(fleet).sentence
    assert "0 items: the stream does not exist yet." in preview(operator, fleet, stream="other")


def test_an_invalid_field_says_what_is_wrong_and_keeps_passwords(operator: Client) -> None:
    fleet = a_fleet()
    said = preview(operator, fleet, max_instances="many")
    assert "No preview yet" in said
    assert "Max pods is 'many'; give a whole number" in said
    said = preview(operator, fleet, backlog_url="redis://u:hunter2@host:x/0")
    assert "Address" in said
    assert "hunter2" not in said


def test_an_unreadable_redis_is_told_as_unknown(operator: Client) -> None:
    fleet = a_fleet(backlog_url="redis://u:hunter2@127.0.0.1:1/0")
    said = preview(operator, fleet)
    assert "Unknown: Redis does not answer" in said
    assert "hunter2" not in said


@contextmanager
def a_listener() -> Iterator[tuple[str, list[int]]]:
    """A server that counts who connects, and its address."""
    calls: list[int] = []

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            calls.append(1)

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0", calls
        server.shutdown()
        thread.join(patience(10))


def test_a_preview_connects_to_no_address_that_is_not_saved(operator: Client) -> None:
    with a_listener() as (address, calls):
        fleet = a_fleet()
        said = preview(operator, fleet, backlog_url=address)
        assert "a new address is read after you save" in said
        assert not calls
        Fleet.objects.filter(pk=fleet.pk).update(backlog_url=address)
        fleet.refresh_from_db()
        preview(operator, fleet)
        assert calls  # the tick of the saved fleet connects too


def test_only_who_may_change_a_fleet_gets_a_preview(operator: Client) -> None:
    fleet = a_fleet()
    sent = fields_of(fleet, user="operator")
    viewer = a_user("viewer")
    for url in (
        reverse("admin:fleet_fleet_preview", args=[fleet.pk]),
        reverse("admin:fleet_fleet_preview_new"),
    ):
        assert viewer.post(url, sent).status_code == 403
        assert operator.get(url).status_code == 405
    assert "pf-preview" not in viewer.get(page_of(fleet)).content.decode()


def test_without_javascript_a_button_shows_the_preview_and_keeps_what_is_typed(
    operator: Client, redis_url: str
) -> None:
    fleet = a_fleet(stream="emb", group="emb", max_instances=2)
    sent = {**fields_of(fleet, user="operator"), "max_instances": "7", "_preview": "1"}
    answer = operator.post(page_of(fleet), sent)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "With these settings the next tick" in page
    assert 'value="7"' in page
    assert "Nothing is saved yet. Please" not in page
    fleet.refresh_from_db()
    assert fleet.max_instances == 2
