"""`enqueue` puts each item of files once onto a stream."""

import itertools
import os
from pathlib import Path

import pytest
import redis

from fleet.items.feeding import BATCH_ITEMS, IN_FLIGHT, BadInput, Fed, enqueue
from fleet.items.progress import PREFIX
from pods.base.redis import make_consumer_group
from tests.support.items import GROUP, STREAM, ids, numbered, text_file


def test_a_missing_group_is_made_and_receives_every_item(
    client: redis.Redis, tmp_path: Path
) -> None:
    text = tmp_path / "b.jsonl"
    text.write_text('{"id": "x", "text": "hello", "reply_to": "mine"}\n')
    fed = enqueue(client, STREAM, GROUP, [text_file(tmp_path, 3), text])
    assert fed == Fed(total=4, added=4, files=2)
    [[_, entries]] = client.xreadgroup(GROUP, "c", {STREAM: ">"})
    assert [fields for _, fields in entries][2:] == [
        {b"id": b"a.txt:3", b"payload": b"text 3"},
        {b"id": b"x", b"payload": b"hello", b"reply_to": b"mine"},
    ]


def test_an_existing_group_keeps_its_place(client: redis.Redis, tmp_path: Path) -> None:
    client.xadd(STREAM, {"payload": "old"})
    client.xgroup_create(STREAM, GROUP, id="$")
    enqueue(client, STREAM, GROUP, [text_file(tmp_path, 1)])
    [[_, entries]] = client.xreadgroup(GROUP, "c", {STREAM: ">"})
    assert [fields[b"id"] for _, fields in entries] == [b"a.txt:1"]
    make_consumer_group(client, STREAM, GROUP)
    assert client.xreadgroup(GROUP, "c", {STREAM: ">"}) == []


def test_progress_grows_from_the_items_already_added_to_all_items(
    client: redis.Redis, tmp_path: Path
) -> None:
    lines = 2 * BATCH_ITEMS * IN_FLIGHT + 3
    path, told = text_file(tmp_path, lines), []
    enqueue(client, STREAM, GROUP, [path], progress=lambda *seen: told.append(seen))
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == (lines, path.stat().st_size)
    assert client.xlen(STREAM) == lines
    told.clear()
    enqueue(client, STREAM, GROUP, [path], progress=lambda *seen: told.append(seen))
    assert {items for items, _ in told} == {lines}


def test_batches_of_large_items_are_bounded_by_bytes(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"".join(bytes([65 + n]) * 3_000_000 + b"\n" for n in range(12)))
    enqueue(client, STREAM, GROUP, [path])
    assert [len(fields[b"payload"]) for _, fields in client.xrange(STREAM)] == [3_000_000] * 12


@pytest.mark.fault(64)
def test_enqueued_items_are_not_enqueued_again(client: redis.Redis, tmp_path: Path) -> None:
    path = text_file(tmp_path, 3)
    enqueue(client, STREAM, GROUP, [path])
    (tmp_path / "link.txt").symlink_to(path)
    fed = enqueue(client, STREAM, GROUP, [path, tmp_path / "link.txt", path])
    assert fed == Fed(total=3, added=0, files=1)
    assert ids(client) == numbered("a.txt", 1, 3)


def test_appended_lines_are_added(client: redis.Redis, tmp_path: Path) -> None:
    path = text_file(tmp_path, 2)
    enqueue(client, STREAM, GROUP, [path])
    text_file(tmp_path, 5)
    assert enqueue(client, STREAM, GROUP, [path]) == Fed(total=5, added=3, files=1)
    assert ids(client) == numbered("a.txt", 1, 5)


def test_a_finished_file_with_other_content_is_another_file(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 2)
    enqueue(client, STREAM, GROUP, [path])
    path.write_text("monday\n")
    assert enqueue(client, STREAM, GROUP, [path]) == Fed(total=1, added=1, files=1)
    assert ids(client) == [*numbered("a.txt", 1, 2), "a.txt#2:1"]


def test_files_with_the_same_name_do_not_share_ids(client: redis.Redis, tmp_path: Path) -> None:
    paths = [text_file(tmp_path / folder, 1, "a.txt") for folder in ("x", "y", "z/y")]
    enqueue(client, STREAM, GROUP, paths[:1])
    enqueue(client, STREAM, GROUP, paths)
    assert ids(client) == ["a.txt:1", "y/a.txt:1", "z/y/a.txt:1"]


def test_again_enqueues_finished_files_once_more(client: redis.Redis, tmp_path: Path) -> None:
    path = text_file(tmp_path, 2)
    for _ in range(3):
        assert enqueue(client, STREAM, GROUP, [path], again=True).added == 2
    assert ids(client) == [
        *numbered("a.txt", 1, 2),
        *numbered("a.txt#2", 1, 2),
        *numbered("a.txt#3", 1, 2),
    ]


def test_with_one_bad_line_no_file_is_added(client: redis.Redis, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "x"}\n' * 700 + "oops\n")
    with pytest.raises(BadInput, match=r"bad\.jsonl:701: not JSON"):
        enqueue(client, STREAM, GROUP, [text_file(tmp_path, 3), bad])
    assert client.keys() == []


def test_after_a_stream_was_deleted_its_files_are_added_again(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 2)
    enqueue(client, STREAM, GROUP, [path])
    client.delete(STREAM)
    assert enqueue(client, STREAM, GROUP, [path]).added == 2
    assert ids(client) == numbered("a.txt", 1, 2)


def test_after_a_stream_was_deleted_and_made_again_its_files_are_added_again(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 2)
    enqueue(client, STREAM, GROUP, [path])
    client.delete(STREAM)
    make_consumer_group(client, STREAM, GROUP)
    client.xadd(STREAM, {"payload": "of somebody else"})
    assert enqueue(client, STREAM, GROUP, [path]).added == 2
    assert client.xlen(STREAM) == 3


def test_trimmed_or_deleted_items_are_not_enqueued_again(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 3)
    enqueue(client, STREAM, GROUP, [path])
    client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)][:2])
    client.xtrim(STREAM, 0)
    assert enqueue(client, STREAM, GROUP, [path]).added == 0


def test_a_file_name_need_not_be_utf8(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("one\n")
    assert enqueue(client, STREAM, GROUP, [path]).added == 1
    assert enqueue(client, STREAM, GROUP, [path]).added == 0
    [[_, fields]] = client.xrange(STREAM)
    assert fields == {b"id": b"caf\xe9.txt:1", b"payload": b"one"}


def test_each_stream_remembers_its_own_files(client: redis.Redis, tmp_path: Path) -> None:
    path = text_file(tmp_path, 2)
    for stream in (STREAM, "other"):
        assert enqueue(client, stream, GROUP, [path]).added == 2


def test_a_full_server_keeps_whole_batches_and_a_later_call_continues(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{n} {'x' * 1000}\n" for n in range(1, 20_001)))
    limit = client.info("memory")["used_memory"] + 12_000_000
    client.config_set("maxmemory", limit)
    try:
        with pytest.raises(redis.exceptions.ResponseError, match="maxmemory"):
            enqueue(client, STREAM, GROUP, [path])
    finally:
        client.config_set("maxmemory", 0)
    before = ids(client)
    assert 0 < len(before) < 20_000
    assert before == numbered("a.txt", 1, len(before))
    assert enqueue(client, STREAM, GROUP, [path]).added == 20_000 - len(before)
    assert ids(client) == numbered("a.txt", 1, 20_000)


def test_a_key_that_is_not_a_stream_is_not_changed(client: redis.Redis, tmp_path: Path) -> None:
    client.set(STREAM, "text")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        enqueue(client, STREAM, GROUP, [text_file(tmp_path, 2)])
    assert client.get(STREAM) == b"text"
    assert client.exists(PREFIX + STREAM) == 0


def interrupted(client: redis.Redis, paths: list[Path], after: int, *, again: bool = False) -> None:
    """Run an `enqueue` that ends at its n-th call of progress."""
    calls = itertools.count(1)

    def stop(*_: int) -> None:
        if next(calls) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enqueue(client, STREAM, GROUP, paths, progress=stop, again=again)


@pytest.mark.fault(64)
def test_a_file_that_changes_before_it_is_finished_is_refused(
    client: redis.Redis, tmp_path: Path
) -> None:
    lines = 2 * BATCH_ITEMS * IN_FLIGHT
    path = text_file(tmp_path, lines)
    whole = path.read_bytes()
    interrupted(client, [path], 1)
    path.write_bytes(b"T" + whole[1:])
    done = BATCH_ITEMS * IN_FLIGHT
    with pytest.raises(BadInput, match=rf"changed after {done:,} of its items .* --again"):
        enqueue(client, STREAM, GROUP, [path])
    path.write_bytes(whole)
    assert enqueue(client, STREAM, GROUP, [path]) == Fed(total=lines, added=lines - done, files=1)


@pytest.mark.fault(64)
def test_the_same_command_continues_an_interrupted_again(
    client: redis.Redis, tmp_path: Path
) -> None:
    lines = 2 * BATCH_ITEMS * IN_FLIGHT
    paths = [text_file(tmp_path, 2, "small.txt"), text_file(tmp_path, lines, "large.txt")]
    enqueue(client, STREAM, GROUP, paths)
    client.xtrim(STREAM, 0)
    interrupted(client, paths, 2, again=True)  # small.txt is done, large.txt is not
    assert 2 < client.xlen(STREAM) < lines + 2
    enqueue(client, STREAM, GROUP, paths, again=True)
    assert ids(client) == [*numbered("small.txt#2", 1, 2), *numbered("large.txt#2", 1, lines)]
