"""A package of a third party reads and writes, from `fleet feed` over a real agent to the proof."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from django.core.management import CommandError

from config.env import ROOT
from fleet.datasets import feeding, finishing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import formats
from tests.support import third_party
from tests.support.datasets import FLEET, Start
from tests.support.fleet_command import run
from tests.support.waiting import until

pytestmark = pytest.mark.one_database
ROWS = 900
HANDLERS = ROOT / "tests" / "support" / "agents"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the example's package, which this process has on its path."""
    folder = third_party.put_example(tmp_path / "site")
    monkeypatch.syspath_prepend(folder)
    with third_party.leaves_nothing_imported(folder):
        yield folder
    formats.source_format.cache_clear()
    formats.sink_format.cache_clear()


@pytest.fixture
def arrow(tmp_path: Path) -> str:
    """The URL of a folder with an Arrow file."""
    (tmp_path / "in").mkdir()
    ids = [f"r{n}" for n in range(ROWS)]
    rows = pa.table({"id": ids, "text": [f"text {own_id}" for own_id in ids]})
    with pa.ipc.new_file(tmp_path / "in" / "a.arrow", rows.schema) as file:
        file.write_table(rows, max_chunksize=250)
    return f"file://{tmp_path}/in/"


def feed(arrow: str, tmp_path: Path, *more: str) -> dict[str, object]:
    into = f"file://{tmp_path}/out"
    answer = run("feed", FLEET, arrow, "--into", into, "--rows-per-range", 200, "--json", *more)
    told: dict[str, object] = json.loads(answer)
    return told


@pytest.mark.takes(10)
def test_a_dataset_goes_through_a_source_and_a_sink_of_a_third_party(
    fleet: Fleet, client: redis.Redis, site: Path, arrow: str, tmp_path: Path, start: Start
) -> None:
    assert feed(arrow, tmp_path, "--parts", "arrow")["ranges_added"] == 4
    start("p1", "length", PYTHONPATH=f"{HANDLERS}:{site}")
    until(lambda: feeding.stream_of(fleet).look().left == 0)
    dataset = Dataset.objects.get()
    assert finishing.finish_dataset(dataset.pk), dataset.note
    told = json.loads(run("verify", FLEET, "--deep", "--json"))
    assert (told["right"], told["rows"], told["done"], told["parts"]) == (True, ROWS, ROWS, 4)
    parts = sorted((tmp_path / "out").glob("part-*.arrow"))
    rows = pa.concat_tables(pa.ipc.open_file(part).read_all() for part in parts)
    assert rows.num_rows == ROWS
    assert rows.schema.field("result").type == pa.int64()


def test_a_pod_without_the_package_says_what_its_image_lacks(
    fleet: Fleet, client: redis.Redis, site: Path, arrow: str, tmp_path: Path, start: Start
) -> None:
    feed(arrow, tmp_path)
    start("p1", "length", PYTHONPATH=str(HANDLERS), PODFLEET_MAX_DELIVERIES="2")
    until(lambda: len(feeding.stream_of(fleet).look().dead) == 4)
    said = run("dead", "list", FLEET)
    assert "the source format 'arrow' is not known here" in said


@pytest.mark.parametrize("option", ["--format", "--parts"])
def test_feed_refuses_a_format_that_it_does_not_know(
    fleet: Fleet, client: redis.Redis, arrow: str, tmp_path: Path, option: str
) -> None:
    with pytest.raises(CommandError, match="format 'arow' is not known here; known: jsonl"):
        feed(arrow, tmp_path, option, "arow")
    assert not client.exists(fleet.stream)
