"""From files to a proved sink with real agents, while some are killed and Redis is lost."""

import io
import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from django.core.management import call_command

from fleet.datasets import feeding, finishing
from fleet.models import Dataset, Fleet
from fleet.tick import ticking
from tests.support.datasets import FLEET, Start, write_lines, write_parquet
from tests.support.fleet_command import run
from tests.support.waiting import patience, until


def feed(folder: Path) -> dict[str, object]:
    answer = run(
        "feed", FLEET, f"file://{folder}/in/", "--into", f"file://{folder}/out",
        "--rows-per-range", 500, "--json",
    )  # fmt: skip
    told: dict[str, object] = json.loads(answer)
    return told


def parts(folder: Path) -> int:
    return len(list((folder / "out").glob("part-*")))


def verified(*more: str) -> str:
    """The answer, also where something is wrong."""
    out = io.StringIO()
    with suppress(SystemExit):
        call_command("fleet", "verify", FLEET, "--json", *more, stdout=out)
    return out.getvalue()


def prove(folder: Path) -> None:
    assert finishing.finish_dataset(Dataset.objects.get().pk), Dataset.objects.get().note
    for deep in ([], ["--deep"]):
        told = json.loads(verified(*deep))
        assert told["wrong"] == []
        assert told["complete"]
        assert told["rows"] == told["done"] + told["failed"] == 9000
    assert (folder / "out" / "_SUCCESS").exists()


@pytest.mark.takes(60)
def test_each_row_is_in_the_sink_once_whatever_happens_to_the_agents(
    fleet: Fleet, client: redis.Redis, tmp_path: Path, start: Start
) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", 4000, group=700)
    write_lines(tmp_path / "in" / "b.jsonl", 3000)
    write_lines(tmp_path / "in" / "c.jsonl.gz", 2000, first=10_000)
    feed(tmp_path)
    killed, drained = start("p1"), start("p2")
    until(lambda: parts(tmp_path) >= 3)
    killed.kill()
    drained.send_signal(signal.SIGTERM)
    drained.wait(timeout=patience(30))
    ticking.tick_fleet(fleet.pk)
    assert 0 < Dataset.objects.get().rows_done < 9000
    start("p3")
    until(lambda: feeding.stream_of(fleet).look().left == 0, seconds=60)
    prove(tmp_path)


@pytest.mark.takes(60)
def test_a_lost_redis_costs_only_the_work_in_hand(
    fleet: Fleet, client: redis.Redis, tmp_path: Path, start: Start
) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", 6000, group=700)
    write_lines(tmp_path / "in" / "b.jsonl", 3000)
    first = feed(tmp_path)
    agent = start("p1")
    until(lambda: parts(tmp_path) >= 4)
    agent.kill()
    agent.wait()
    client.flushall()
    again = feed(tmp_path)
    assert int(str(again["ranges_added"])) <= int(str(first["ranges_added"])) - 4
    start("p2")
    until(lambda: feeding.stream_of(fleet).look().left == 0, seconds=60)
    prove(tmp_path)
