"""The pages of a fleet's failed items: they show what failed, and operators retry or delete it."""

import json
from typing import Any

import pytest
import redis
from django.test import Client
from django.urls import reverse

from fleet import letters
from fleet.admin import dead_letters, failed_items
from fleet.alerts import reconciling
from fleet.items import dead_letters as dead_letters_of_items
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


def each_of(fleet: Fleet) -> str:
    return reverse("admin:fleet_fleet_dead_each", args=[fleet.pk])


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
    for address in (each_of(fleet), page_of(fleet)):
        page = operator.get(address).content.decode()
        assert evil not in page
        assert page.count("&lt;script&gt;alert(1)") >= 6
        assert "\x1b" not in page
        assert "\\x1b[2J\\u202e" in page
    assert evil not in operator.get(reverse("failed_items")).content.decode()


@pytest.mark.fault(66)
def test_a_password_in_an_error_is_masked(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    words = "cannot reach redis://ann:hunter2@host/0"
    die(stream, dead_error=words, dead_traceback=words, payload=words)
    for address in (each_of(fleet), page_of(fleet), reverse("failed_items")):
        page = operator.get(address).content.decode()
        assert "cannot reach redis://***@host/0" in page
        assert "hunter2" not in page


def test_large_items_are_cut_off(fleet: Fleet, stream: redis.Redis, operator: Client) -> None:
    many = {f"field-{n}": "v" for n in range(FIELDS_SHOWN + 5)}
    die(stream, **{"payload": "ü" * 100_000, "dead_traceback": "t" * 100_000, **many})
    page = operator.get(each_of(fleet)).content.decode()
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
        shown = operator.get(each_of(fleet), query).context["shown"]
        seen += [letter.letter for letter in shown.letters]
        query = {"after": shown.next}
    assert seen == entries
    assert shown.next == ""
    assert operator.get(each_of(fleet), {"after": "x"}).context["shown"].after == "0-0"


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
    assert "emb: 1 item deleted; 2 left" in page
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
    file = reverse("admin:fleet_fleet_dead_file", args=[fleet.pk])
    assert viewer.get(file).status_code == 403
    assert file not in page
    every = viewer.get(reverse("failed_items")).content.decode()
    assert "ValueError: bad" in every
    assert 'value="retry"' not in every
    assert file not in every
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


def groups_of(client: Client, fleet: Fleet) -> list[Any]:
    return [group for group, _ in client.get(page_of(fleet)).context["groups"]]


def test_items_are_grouped_by_their_error_with_an_example(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    for n in range(3):
        die(stream, dead_error=f"KeyError: row {n}", dead_at_ms=str(1795473132695 + 1000 * n))
    die(stream, dead_error="OSError: disk full", id="the one")
    first, second = groups_of(operator, fleet)
    assert (first.count, first.example.error) == (3, "KeyError: row 2")
    assert (first.last - first.first).total_seconds() == 2
    assert (second.count, second.example.id) == (1, "the one")
    page = " ".join(operator.get(page_of(fleet)).content.decode().split())
    assert "comes here after 5 failed tries" in page
    assert "text 0" in page
    assert "Traceback …" in page


def test_some_one_or_all_of_an_error_are_retried(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    entries = [die(stream, dead_error=f"KeyError: row {n}")[0] for n in range(25)]
    die(stream, dead_error="OSError: disk full")
    [group, _] = groups_of(operator, fleet)
    same = {"verb": "retry", "same": group.key, "until": entries[-1]}
    assert "20 items put back onto tasks; 6 left" in act(operator, fleet, which="some", **same)
    assert entries[20] == stream.xrange("tasks:dead")[0][0].decode()  # the oldest go first
    one = {"verb": "retry", "letter": [group.example.letter]}
    assert "1 item put back onto tasks; 5 left" in act(operator, fleet, **one)
    assert "4 items put back onto tasks; 1 left" in act(operator, fleet, which="same", **same)
    assert groups_of(operator, fleet)[0].example.error == "OSError: disk full"


def test_what_fails_after_the_question_is_not_deleted_with_the_others(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    entries = die(stream, 3)
    [group] = groups_of(operator, fleet)
    chosen = {"verb": "drop", "which": "same", "same": group.key, "until": entries[-1]}
    page = act(operator, fleet, **chosen)
    assert "3 items of emb will be deleted for good, with errors like" in " ".join(page.split())
    [later] = die(stream)
    assert "3 items deleted; 1 left" in act(operator, fleet, **chosen, confirmed="yes")
    assert [entry.decode() for entry, _ in stream.xrange("tasks:dead")] == [later]


def test_a_group_that_nobody_has_is_not_all_items(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    [entry] = die(stream)
    for key, until in (("0" * 12, entry), ("", entry), ("junk", entry), ("0" * 12, "junk")):
        act(operator, fleet, verb="drop", which="same", same=key, until=until, confirmed="yes")
    assert stream.xlen("tasks:dead") == 1


def test_only_the_newest_items_of_many_are_looked_at(
    fleet: Fleet, stream: redis.Redis, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(stream, 5, dead_error="OSError: old")
    die(stream, 2 * AT_ONCE)
    monkeypatch.setattr(letters, "LOOKED_AT", 2 * AT_ONCE)
    reasons = letters.reasons(fleet, most=letters.LOOKED_AT)
    assert (reasons.looked_at, reasons.count, len(reasons.groups)) == (200, 205, 1)
    monkeypatch.setattr(letters.reasons, "__kwdefaults__", {"most": 200})
    page = operator.get(page_of(fleet)).content.decode()
    assert "the newest 200 of 205 items were looked at" in page
    assert "200 or more items" in page
    assert ">Retry all</button>" in page
    assert "OSError" not in page


def test_a_look_at_large_items_ends_early(
    fleet: Fleet, stream: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(stream, 10, payload="x" * 1000)
    monkeypatch.setattr(dead_letters_of_items, "BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(dead_letters_of_items, "GLANCES", 4)
    reasons = letters.reasons(fleet)
    assert (reasons.looked_at, reasons.count) == (4, 10)


def test_operators_download_whole_items_of_all_or_one_error(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    die(stream, AT_ONCE + 1, payload="ü" * 2000)
    die(stream, dead_error="OSError: " + "ö" * 2000, payload=b"\xff", id="odd")
    file = reverse("admin:fleet_fleet_dead_file", args=[fleet.pk])
    answer: Any = operator.get(file)
    assert 'filename="emb-failed.jsonl"' in answer["Content-Disposition"]
    lines = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert len(lines) == AT_ONCE + 2
    assert lines[0]["payload"] == "ü" * 2000
    assert lines[0]["failure"]["error"] == "ValueError: bad"
    odd = next(g for g in groups_of(operator, fleet) if g.example.id == "odd")
    answer = operator.get(file, {"same": odd.key})
    [line] = answer.getvalue().splitlines()
    assert json.loads(line)["encoding"] == "base64"


def test_a_download_of_a_redis_that_is_away_says_so(operator: Client) -> None:
    away = a_fleet(backlog_url="redis://127.0.0.1:1/0", stream="away")
    file = reverse("admin:fleet_fleet_dead_file", args=[away.pk])
    answer = operator.get(file, follow=True)
    assert "Redis does not answer" in answer.content.decode()


def test_the_page_of_all_fleets_shows_the_most_failed_first_and_hides_none(
    fleet: Fleet, stream: redis.Redis, operator: Client
) -> None:
    a_fleet(name="away", backlog_url="redis://:hunter2@127.0.0.1:1/0", stream="away")
    a_fleet(name="odd-host", backlog_url="redis://bad..host/0", stream="odd")
    a_fleet(name="calm", stream="calm")
    other = a_fleet(name="other", stream="other")
    stream.set("not-a-stream:dead", "x")
    a_fleet(name="wrong", stream="not-a-stream")
    die(stream, 2)
    for _ in range(3):
        stream.xadd("other:dead", {"payload": "x", "dead_error": "OSError: disk full"})
    answer = operator.get(reverse("failed_items"))
    page = answer.content.decode()
    assert [e.fleet.name for e in answer.context["found"]] == [
        "other", "emb", "away", "odd-host", "wrong"
    ]  # fmt: skip
    assert page.count("Redis does not answer") == 1
    assert page.count("The address of Redis cannot be used") == 1
    assert page.count("Redis refuses: WRONGTYPE") == 1
    assert "hunter2" not in page
    assert "5 items failed for good" in page
    assert page_of(other) in page
    assert ">calm<" not in page
    back = {"verb": "retry", "letter": [groups_of(operator, fleet)[0].example.letter]}
    sent = operator.post(page_of(fleet), {**back, "back": "all"})
    assert sent.headers["Location"] == reverse("failed_items")


@pytest.mark.parametrize("count", [2, 12])
def test_the_page_of_all_fleets_has_a_fixed_number_of_queries(
    stream: redis.Redis, operator: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    for n in range(count):
        a_fleet(stream=f"s{n}")
        stream.xadd(f"s{n}:dead", {"payload": "x", "dead_error": "OSError: disk full"})
    operator.get(reverse("failed_items"))
    with django_assert_max_num_queries(8):
        assert len(operator.get(reverse("failed_items")).context["found"]) == count


def test_fleets_that_nobody_had_time_to_look_at_are_named(
    fleet: Fleet, stream: redis.Redis, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(stream, 3)
    monkeypatch.setattr(failed_items, "LONGEST_SECONDS", -1.0)
    page = operator.get(reverse("failed_items")).content.decode()
    assert "emb</a>: 3 failed items" in page
    assert "this took too long" in page


def test_without_failed_items_the_page_says_what_would_be_here(operator: Client) -> None:
    page = operator.get(reverse("failed_items")).content.decode()
    assert "No item has failed for good." in page
