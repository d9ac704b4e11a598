"""A tick of a dataset counts rows, remembers them, and tells its pods what they work on."""

import json
from pathlib import Path

import redis

from fleet.models import Dataset, Fleet, Tick
from fleet.tick import ticking
from fleet.tick.requesting import agent_settings
from pods.agent.protocol import AgentSettings
from tests.support.datasets import FLEET, finish, take, write_parquet
from tests.support.factories import a_fleet
from tests.support.fleet_command import run


def feed(folder: Path, rows: int = 10_000) -> None:
    write_parquet(folder / "in" / "a.parquet", rows)
    run(
        "feed", FLEET, f"file://{folder}/in/", "--into", f"file://{folder}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip


def test_a_tick_counts_rows(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> None:
    feed(tmp_path)
    for entry in take(client, 3):
        finish(client, entry, done=990, failed=10)
    ticking.tick_fleet(fleet.pk)
    tick = Tick.objects.get()
    assert tick.depth == 7000
    assert "7,000 rows at 1,000 per pod" in tick.sentence
    assert tick.snapshot["ranges"] == 7
    dataset = Dataset.objects.get()
    assert (dataset.rows_planned, dataset.rows_done, dataset.rows_failed) == (10_000, 2970, 30)
    assert dataset.ranges_left == 7
    for entry in take(client, 7):
        finish(client, entry, done=999, failed=1)
    ticking.tick_fleet(fleet.pk)
    shown = json.loads(run("show", FLEET, "--json"))
    assert shown["health_because"] == "nothing waits; 37 rows failed"


def test_a_lost_redis_is_unknown_and_the_counts_stay(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    feed(tmp_path)
    ticking.tick_fleet(fleet.pk)
    client.flushall()
    ticking.tick_fleet(fleet.pk)
    tick = Tick.objects.latest("at")
    assert tick.depth is None
    assert "`fleet feed` makes it and adds the ranges" in tick.sentence
    assert Dataset.objects.get().rows_planned == 10_000


def test_the_agent_learns_that_its_items_are_ranges(fleet: Fleet) -> None:
    told = AgentSettings(redis_url="redis://h", pod="p", **agent_settings(fleet))
    assert told.env()["PODFLEET_KIND"] == "dataset"
    other = agent_settings(a_fleet(name="other", stream="others"))
    assert AgentSettings(redis_url="redis://h", pod="p", **other).kind == ""


def test_the_command_makes_a_dataset_fleet(db: None, redis_url: str) -> None:
    run("create", "vec", "--backlog", "dataset", "--stream", "vec", "--handler", "m:f")
    assert Fleet.objects.get().is_dataset
