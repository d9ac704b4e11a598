"""The page of dead letters: it shows what failed, and operators retry or delete it."""

from typing import Any

import pytest
import redis
from django.test import Client
from django.urls import reverse

from fleet.admin import dead_letters
from fleet.alerts import reconciling
from fleet.items.dead_letters import AT_ONCE, BYTES_SHOWN, FIELDS_SHOWN
from fleet.models import Alert, Fleet
from fleet.tick import ticking
from pods.base.redis import make_consumer_group, redis_client
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(redis_url: str) -> redis.Redis:
    return redis_client(redis_url)


@pytest.fixture
def fleet(stream: redis.Redis) -> Fleet:
    made = a_fleet(name="emb", stream="tasks", group="workers")
    make_consumer_group(stream, "tasks", "workers")
    return made


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def die(stream: redis.Redis, count: int = 1, **fields: Any) -> list[str]:
    """Put dead letters there, as `fail.lua` writes them."""
    dead = {
        "dead_error": "ValueError: bad", "dead_traceback": "Traceback …", "dead_deliveries": "5",
        "dead_pod": "pod-a", "dead_at_ms": "1795473132695",
    }  # fmt: skip
    return [
        stream.xadd(
            "tasks:dead", {"payload": f"text {n}", "id": f"item-{n}", **dead, **fields}
        ).decode()
        for n in range(count)
    ]


def page_of(fleet: Fleet) -> str:
    return reverse("admin:fleet_fleet_dead", args=[fleet.pk])


def act(client: Client, fleet: Fleet, **values: Any) -> str:
    return str(client.post(page_of(fleet), values, follow=True).content.decode())


def test_a_letter_is_shown_with_its_reason_its_item_and_its_traceback(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    die(stream, dead_error="KeyError: 'name'", note="from the crawl")
    page = operator.get(page_of(fleet)).content.decode()
    for words in ("item-0", "KeyError: &#x27;name&#x27;", "5 tries", "text 0", "from the crawl"):
        assert words in page
    assert "Traceback …" in page
    assert (
        page_of(fleet)
        in operator.get(reverse("admin:fleet_fleet_change", args=[fleet.pk])).content.decode()
    )


@pytest.mark.fault(68)
def test_nothing_of_an_item_is_taken_for_markup_or_control(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    evil = "<script>alert(1)</script>"
    die(
        stream,
        **{"id": evil, "payload": evil + "\x1b[2J\u202e", "dead_error": evil, "dead_pod": evil},
        **{"dead_traceback": evil, evil: evil},
    )
    page = operator.get(page_of(fleet)).content.decode()
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)") >= 6
    assert "\x1b" not in page
    assert "\\x1b[2J\\u202e" in page


@pytest.mark.fault(66)
def test_a_password_in_an_error_is_masked(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    words = "cannot reach redis://ann:hunter2@host/0"
    die(stream, dead_error=words, dead_traceback=words, payload=words)
    page = operator.get(page_of(fleet)).content.decode()
    assert "cannot reach redis://***@host/0" in page
    assert "hunter2" not in page


def test_large_items_are_cut_off(fleet: Fleet, stream: redis.Redis, operator: Client) -> None:
    many = {f"field-{n}": "v" for n in range(FIELDS_SHOWN + 5)}
    die(stream, **{"payload": "ü" * 100_000, "dead_traceback": "t" * 100_000, **many})
    page = operator.get(page_of(fleet)).content.decode()
    assert page.count("ü") == BYTES_SHOWN // 2
    assert "(cut off)" in page
    assert f"The item has {len(many) + 2} fields; {FIELDS_SHOWN} are shown." in page
    assert page.count("t" * 1000) <= 4


def test_letters_are_shown_page_by_page(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    entries = die(stream, 2 * dead_letters.PAGE + 1)
    seen, query = [], {}
    for _ in range(3):
        shown = operator.get(page_of(fleet), query).context["shown"]
        seen += [letter.letter for letter in shown.letters]
        query = {"after": shown.next}
    assert seen == entries
    assert shown.next == ""
    assert operator.get(page_of(fleet), {"after": "x"}).context["shown"].after == "0-0"


def test_an_operator_retries_the_chosen_items(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    entries = die(stream, 3)
    page = act(operator, fleet, verb="retry", letter=[entries[0], entries[2], "junk"])
    assert "2 items put back onto tasks; 1 left" in page
    assert [f[b"id"] for _, f in stream.xrange("tasks")] == [b"item-0", b"item-2"]
    page = act(operator, fleet, verb="retry", letter=[entries[0]])
    assert f"{entries[0]}: not here any more" in page
    assert "nothing is chosen" in act(operator, fleet, verb="retry")


def test_all_are_retried_in_steps_and_a_slow_one_says_what_is_left(
    fleet: Fleet, stream: redis.Redis, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(stream, 2 * AT_ONCE + 1)
    monkeypatch.setattr(dead_letters, "LONGEST_SECONDS", -1.0)  # the time is over after each step
    page = act(operator, fleet, verb="retry", which="all")
    assert f"{AT_ONCE} items put back onto tasks; {AT_ONCE + 1} left. Press" in page
    monkeypatch.undo()
    assert "101 items put back onto tasks; 0 left" in act(
        operator, fleet, verb="retry", which="all"
    )
    assert stream.xlen("tasks") == 2 * AT_ONCE + 1


def test_a_delete_asks_first(fleet: Fleet, stream: redis.Redis, operator: Client) -> None:
    entries = die(stream, 3)
    page = act(operator, fleet, verb="drop", letter=entries[:1])
    assert "1 item of emb will be deleted for good" in page
    assert "3 items of emb will be deleted" in act(operator, fleet, verb="drop", which="all")
    assert stream.xlen("tasks:dead") == 3
    page = act(operator, fleet, verb="drop", letter=entries[:1], confirmed="yes")
    assert "1 item deleted; 2 left" in page
    act(operator, fleet, verb="drop", which="all", confirmed="yes")
    assert stream.xlen("tasks:dead") == 0
    assert "No item of this fleet has failed for good." in act(
        operator, fleet, verb="retry", which="all"
    )


@pytest.mark.fault(69)
def test_a_viewer_sees_them_and_changes_nothing(fleet: Fleet, stream: redis.Redis) -> None:
    entries, viewer = die(stream), a_user("viewer")
    page = viewer.get(page_of(fleet)).content.decode()
    assert "ValueError: bad" in page
    assert 'value="retry"' not in page
    for verb in ("retry", "drop"):
        sent = {"verb": verb, "letter": entries, "confirmed": "yes"}
        assert viewer.post(page_of(fleet), sent).status_code == 403
    assert stream.xlen("tasks:dead") == 1


def test_a_fleet_without_dead_letters_or_redis_says_so(operator: Client) -> None:
    celery = a_fleet(backlog="celery_redis", stream="celery")
    assert "only your Celery app" in operator.get(page_of(celery)).content.decode()
    away = a_fleet(backlog_url="redis://127.0.0.1:1/0", stream="away")
    assert "Redis does not answer" in operator.get(page_of(away)).content.decode()
    assert "Redis does not answer" in act(operator, away, verb="drop", which="all")
    assert "Redis does not answer" in act(operator, away, verb="retry", which="all")
    assert operator.get(reverse("admin:fleet_fleet_dead", args=[999])).status_code == 404


def test_the_alert_counts_items_links_to_the_page_and_ends_with_the_last_item(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    die(stream, 12)
    ticking.tick_fleet(fleet.pk)
    reconciling.reconcile_alerts()
    alert = Alert.objects.open().get(cause="dead_letters")
    assert alert.text == "emb: 12 items failed for good (dead letters)"
    assert page_of(fleet) in operator.get(reverse("dashboard-now")).content.decode()
    shown = reverse("admin:fleet_alert_change", args=[alert.pk])
    assert page_of(fleet) in operator.get(shown).content.decode()
    act(operator, fleet, verb="retry", which="all")
    ticking.tick_fleet(fleet.pk)
    reconciling.reconcile_alerts()
    assert not Alert.objects.open().filter(cause="dead_letters").exists()


def test_an_unknown_count_keeps_the_alert(fleet: Fleet, stream: redis.Redis) -> None:
    die(stream)
    ticking.tick_fleet(fleet.pk)
    Fleet.objects.filter(pk=fleet.pk).update(backlog_url="redis://127.0.0.1:1/0")
    ticking.tick_fleet(fleet.pk)
    reconciling.reconcile_alerts()
    assert Alert.objects.open().filter(cause="dead_letters").exists()
