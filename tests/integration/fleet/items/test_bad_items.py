"""`enqueue` says how much it added before a bad item, and can leave bad items out."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management import CommandError

from fleet.items import rows
from fleet.items.feeding import BadInput, Fed, enqueue
from fleet.items.files import ItemFile
from fleet.items.queries import ItemQuery
from fleet.items.source import LeftOut
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.items import GROUP, STREAM, ids
from tests.support.sources import Source

LINES = '{"id": "a"}\nnonsense\n{"id": "b"}\n[]\n{"id": true}\n{"id": "c"}\n{'


def test_a_bad_line_of_a_file_adds_nothing_and_the_message_says_so(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(LINES)
    with pytest.raises(BadInput, match=r"a\.jsonl:2: not JSON .*; nothing was added$"):
        enqueue(client, STREAM, GROUP, [path])
    assert not client.exists(STREAM)


def test_bad_lines_are_left_out_and_counted_and_the_rest_goes_on_once(
    client: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(LINES)
    fed = enqueue(client, STREAM, GROUP, [path], skip_bad=True)
    assert (fed.total, fed.added, fed.skipped) == (3, 3, 4)
    assert [message.split(":")[1] for message in fed.bad] == ["2", "4", "5", "7"]
    assert ids(client, STREAM) == ["a", "b", "c"]
    assert enqueue(client, STREAM, GROUP, [path], skip_bad=True) == Fed(total=3, added=0, files=1)
    with path.open("a") as file:
        file.write('\n{"id": "d"}\n')
    assert enqueue(client, STREAM, GROUP, [path], skip_bad=True) == Fed(total=4, added=1, files=1)
    assert ids(client, STREAM) == ["a", "b", "c", "d"]


def test_a_line_that_is_too_long_is_left_out_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for length in (11, 12, 19, 20, 21, 33, 40):
        path.write_bytes(b"one\n" + b"x" * length + b"\ntwo\n" + b"y" * length)
        file = ItemFile(path, longest_line=10)
        file.left_out = LeftOut()
        assert [fields["payload"] for fields in file] == [b"one", b"two"]
        assert file.left_out.count == 2
        assert file.position.offset == path.stat().st_size
        assert (file.position.lines, file.position.items) == (4, 2)


def test_bad_rows_of_a_table_are_left_out(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LONGEST_LINE", 5)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["short", "longer", "x"]}), path)
    with pytest.raises(BadInput, match=r"a\.parquet:2: payload is longer .*; nothing was added$"):
        enqueue(client, STREAM, GROUP, [path])
    fed = enqueue(client, STREAM, GROUP, [path], skip_bad=True)
    assert (fed.total, fed.added, fed.skipped) == (2, 2, 1)
    assert ids(client, STREAM) == ["a", "c"]
    assert enqueue(client, STREAM, GROUP, [path], skip_bad=True) == Fed(total=2, added=0, files=1)


def test_a_bad_row_of_a_query_says_how_many_were_added_and_can_be_left_out(
    client: redis.Redis, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.run("CREATE TABLE odd (id bigint, text text)")
    source.run("INSERT INTO odd VALUES (?, ?)", [(n, "x" * (n % 500)) for n in range(1, 1501)])
    monkeypatch.setattr(rows, "LONGEST_LINE", 498)
    query = "SELECT * FROM odd"
    with pytest.raises(BadInput, match=r"id 499: payload is longer .*; 0 items were added before$"):
        enqueue(client, STREAM, GROUP, [ItemQuery(query, url=source.url)])
    fed = enqueue(client, STREAM, GROUP, [ItemQuery(query, url=source.url)], skip_bad=True)
    assert (fed.total, fed.added, fed.skipped) == (1497, 1497, 3)
    assert len(ids(client, STREAM)) == 1497
    again = enqueue(client, STREAM, GROUP, [ItemQuery(query, url=source.url)], skip_bad=True)
    assert again == Fed(total=1497, added=0, files=0)


@pytest.mark.django_db
def test_the_command_shows_what_it_left_out(client: redis.Redis, tmp_path: Path) -> None:
    a_fleet(name="emb", stream=STREAM, group=GROUP)
    path = tmp_path / "a.jsonl"
    path.write_text(LINES + "\n{" * 20)
    with pytest.raises(CommandError, match=r"nothing was added; mend it, or .*--skip-bad"):
        run("enqueue", "emb", path)
    said: Any = run("enqueue", "emb", path, "--skip-bad").splitlines()
    assert said[0] == f"3 items enqueued on {STREAM}; 24 bad ones were left out:"
    assert "a.jsonl:2: not JSON" in said[1]
    assert said[-1] == "  …"
    assert len(said) == 12
    answer = json.loads(run("enqueue", "emb", path, "--skip-bad", "--again", "--json"))
    assert (answer["skipped"], len(answer["bad"])) == (24, 10)
