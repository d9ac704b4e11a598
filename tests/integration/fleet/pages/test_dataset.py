"""The page of a dataset shows its rows, its newest parts, and why rows failed."""

from pathlib import Path

import pytest
import redis
from django.test import Client
from django.urls import reverse

from fleet.datasets import finishing, receipts
from fleet.models import Dataset, Fleet
from fleet.pages import dataset as pages
from fleet.tick import ticking
from pods.agent.ranges import Receipt
from tests.support.datasets import FLEET, GROUP, STREAM, work, write_parquet
from tests.support.factories import a_fleet
from tests.support.fixtures import client as client
from tests.support.fleet_command import run


@pytest.fixture
def fleet(db: None, client: redis.Redis, tmp_path: Path) -> Fleet:
    """A dataset of 4,000 rows, 2,000 of which are finished, 150 of these with an error."""
    made = a_fleet(name=FLEET, backlog="dataset", stream=STREAM, group=GROUP)
    write_parquet(tmp_path / "in" / "a.parquet", 4000)
    run(
        "feed", FLEET, f"file://{tmp_path}/in/", "--into", f"file://{tmp_path}/out",
        "--rows-per-range", 1000,
    )  # fmt: skip
    work(client, most=2, failed=set(range(150)))
    ticking.tick_fleet(made.pk)
    return made


def page(viewer: Client, fleet: Fleet) -> str:
    return viewer.get(reverse("admin:fleet_fleet_dataset", args=[fleet.pk])).content.decode()


def test_the_facts_of_a_dataset(fleet: Fleet) -> None:
    found = pages.shown(fleet)
    assert found is not None
    assert (found.files, found.rows, found.finished, found.percent) == (1, 4000, 2000, 50)
    assert found.failed_percent == 7.5
    assert [part.range for part in found.parts] == [
        "a.parquet 1,000–2,000",
        "a.parquet 0–1,000",
    ]
    assert [(r.example, r.rows) for r in found.reasons] == [("ValueError: too long", 3)]


def test_the_page(fleet: Fleet, admin_client: Client, client: redis.Redis) -> None:
    text = page(admin_client, fleet)
    assert "Held: 150 of 2,000 rows failed, more than 5 %: ValueError: too long" in text
    assert "Run it again" in text
    assert 'aria-current="page"' in text
    client.flushall()
    assert "No part is written yet" in page(admin_client, fleet)


def test_a_finished_dataset_says_so(
    fleet: Fleet, admin_client: Client, client: redis.Redis
) -> None:
    work(client)
    assert finishing.finish_dataset(Dataset.objects.get().pk)
    assert "the sink has its manifest" in page(admin_client, fleet)


def test_a_fleet_without_a_dataset_says_what_would_be_here(admin_client: Client, db: None) -> None:
    other = a_fleet(name="other", stream="others")
    assert "works on rows of files" in page(admin_client, other)
    made = a_fleet(name="vec", backlog="dataset", stream="vec")
    assert "fleet feed vec" in page(admin_client, made)
    tabs = admin_client.get(reverse("admin:fleet_fleet_status", args=[other.pk])).content.decode()
    assert reverse("admin:fleet_fleet_dataset", args=[other.pk]) not in tabs


def test_reasons_are_found_behind_thousands_of_receipts(fleet: Fleet, client: redis.Redis) -> None:
    results = fleet.result_stream
    good = Receipt("r", "file:///in/a", 0, 10, 10, 10, 0, 1, 1.0, "part", "e").dumps()
    pipe = client.pipeline(transaction=False)
    for _ in range(receipts.MOST_READ - 100):
        pipe.xadd(results, {"result": good})
    pipe.execute()
    found = pages.shown(fleet)
    assert found is not None
    assert [(r.example, r.rows) for r in found.reasons] == [("ValueError: too long", 3)]
    assert found.read == receipts.MOST_READ - 98
    for _ in range(200):
        pipe.xadd(results, {"result": good})
    pipe.execute()
    found = pages.shown(fleet)
    assert found is not None
    assert (found.reasons, found.read) == ([], receipts.MOST_READ)
