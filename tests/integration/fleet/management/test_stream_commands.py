"""Operators call `fleet enqueue` and `fleet results`."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management import CommandError

from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.items import ids, numbered, text_file

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(client: redis.Redis) -> Any:
    return a_fleet(name="emb", stream="tasks", group="workers")


def test_enqueue_prints_how_many_items_went_onto_which_stream(fleet: Any, tmp_path: Path) -> None:
    path = text_file(tmp_path, 3)
    assert run("enqueue", "emb", path) == "3 items enqueued on tasks\n"
    assert "0 items enqueued on tasks; 3 were enqueued before; use --again" in run(
        "enqueue", "emb", path
    )
    assert run("enqueue", "emb", path, "--again") == "3 items enqueued on tasks\n"


def test_enqueue_prints_one_json_object_with_json(
    fleet: Any, client: redis.Redis, tmp_path: Path
) -> None:
    paths = [text_file(tmp_path, 2, "a.txt"), text_file(tmp_path, 1, "b.txt")]
    assert json.loads(run("enqueue", "emb", "--json", *paths)) == {
        "total": 3,
        "added": 3,
        "files": 2,
        "skipped": 0,
        "bad": [],
        "unused": [],
    }
    assert ids(client, "tasks") == [*numbered("a.txt", 1, 2), "b.txt:1"]
    assert [group["name"] for group in client.xinfo_groups("tasks")] == [b"workers"]


def test_enqueue_names_the_keys_and_columns_that_do_not_go_with_the_items(
    fleet: Any, client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "1", "text": "a", "lang": "de"}\n{"text": "b", "url": "u", "lang": "fr"}\n'
    )
    wanted = "not in the items: lang, url. An item has its payload, id and reply_to; put what the "
    said = run("enqueue", "emb", path)
    assert said.startswith(f"2 items enqueued on tasks\n{wanted}")
    path.write_text('{"lang": "de", "url": "u"}\n')  # without a payload the whole object goes
    assert run("enqueue", "emb", path) == "1 item enqueued on tasks\n"
    table = tmp_path / "b.parquet"
    pq.write_table(pa.table({"id": [1], "text": ["a"], "lang": ["de"]}), table)
    assert json.loads(run("enqueue", "emb", "--json", table))["unused"] == ["lang"]


def test_a_progress_bar_is_shown_only_on_a_terminal(
    fleet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = text_file(tmp_path, 3)
    run("enqueue", "emb", path)
    run("results", "emb", "--out", tmp_path / "out.jsonl")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    run("enqueue", "emb", path)
    run("results", "emb", "--out", tmp_path / "out.jsonl")
    shown = capsys.readouterr()
    assert "enqueueing" in shown.err
    assert "3 items" in shown.err
    assert "writing" in shown.err
    assert shown.out == ""


def test_results_are_read_from_the_stream_of_the_fleet(
    fleet: Any, client: redis.Redis, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    for item in ("a", "b", "a"):
        client.xadd("tasks:results", {"id": item, "result": "1"})
    assert run("results", "emb", "--out", out) == (
        f"{out}: 2 results, 2 of them new; 1 duplicates left out\n"
    )
    fleet.results = "elsewhere"
    fleet.save(update_fields=["results"])
    client.xadd("elsewhere", {"id": "c", "result": "1"})
    answer = run("results", "emb", "--json", "--out", tmp_path / "other.jsonl")
    assert json.loads(answer) == {"items": 1, "added": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), ("{}\n[]\n", "bad.jsonl:2: list, not an object")]
)
def test_a_bad_input_file_gives_a_clear_error(
    fleet: Any, tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandError, match=words):
        run("enqueue", "emb", path)


def test_a_closed_standard_input_gives_a_clear_error(
    fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CommandError, match="standard input is closed; pipe the items"):
        run("enqueue", "emb", "-")


def test_an_error_of_redis_is_shown_without_our_script(
    fleet: Any, client: redis.Redis, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 3)
    run("enqueue", "emb", path)
    text_file(tmp_path, 5_000)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(CommandError, match=r"Redis answered: .*maxmemory") as caught:
            run("enqueue", "emb", path)
    finally:
        client.config_set("maxmemory", 0)
    assert "local known" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert run("enqueue", "emb", path).startswith("4,997 items enqueued on tasks; 3 were")


def test_an_error_names_an_unreachable_redis(fleet: Any, tmp_path: Path) -> None:
    fleet.backlog_url = "redis://127.0.0.1:1/0"
    fleet.save(update_fields=["backlog_url"])
    with pytest.raises(CommandError, match=r"Redis: .*127\.0\.0\.1:1.* run the same command again"):
        run("enqueue", "emb", text_file(tmp_path, 1))
    with pytest.raises(CommandError, match=r"Redis: .*127\.0\.0\.1:1"):
        run("results", "emb", "--out", tmp_path / "out.jsonl")


def test_a_celery_queue_is_refused_as_its_own_app_feeds_it(fleet: Any, tmp_path: Path) -> None:
    fleet.backlog = "celery_redis"
    fleet.save(update_fields=["backlog"])
    with pytest.raises(CommandError, match="emb drains a Celery queue on Redis; only your Celery"):
        run("enqueue", "emb", text_file(tmp_path, 1))


def test_standard_input_is_recognised_and_leaves_nothing_on_disk(
    fleet: Any,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.VAR_DIR = tmp_path

    def piped(text: bytes) -> str:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        return run("enqueue", "emb", "-", "--stdin", "txt")

    assert piped(b"one\ntwo\n") == "2 items enqueued on tasks\n"
    assert "1 item enqueued on tasks; 2 were enqueued before" in piped(b"one\ntwo\nthree\n")
    assert piped(b"other\n") == "1 item enqueued on tasks\n"
    assert ids(client, "tasks") == [*numbered("emb.txt", 1, 3), "emb.txt#2:1"]
    assert list((tmp_path / "stdin").iterdir()) == []
