"""`fleet what-if --trace` reads recordings, and says which line of a wrong one is wrong."""

import gzip
import json
from pathlib import Path

import pytest
from django.core.management import CommandError

from fleet import trace_files
from fleet.models import Fleet
from fleet.trace_files import Came, Stood, WrongFile
from tests.support.factories import a_fleet
from tests.support.fleet_command import run

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
RECORDED = Path(__file__).parents[4] / "benchmarks" / "spot" / "recordings"
WEST = RECORDED / "spot_aws-02-15-2023_us-east-2b_v100.json.gz"
PRICES = ("--spot-usd", "0.92", "--on-demand-usd", "3.06", "--items-per-second", 10)
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8

2023-11-16 18:27:04.0781490,110,27
"""


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    return a_fleet(name="emb", max_instances=8, spawn_per_tick=4)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_recorded_market_is_followed_with_two_settings(fleet: Fleet) -> None:
    words = ("what-if", "emb", "--trace", WEST, *PRICES, "--items", "288_000", "--hours", 30)
    told = json.loads(run(*words, "--set", "max_instances=2", "--json"))
    present, changed = told["present"], told["changed"]
    assert (present["most_pods"], changed["most_pods"]) == (8, 2)
    assert present["done_seconds"] < changed["done_seconds"]
    assert 8 * 0.92 < float(present["cost_usd"]) < 8 * 3.06 + 6
    assert told["recordings"][0]["percent"] == pytest.approx(68, abs=1)
    assert len(present["points"]) <= 200
    assert json.loads(run(*words, "--json", "--from", "2026-12-01T00:00Z")) == json.loads(
        run(*words, "--json", "--from", "2026-12-01T00:00Z")
    )
    text = " ".join(run(*words).split())
    assert "present settings" in text
    assert "interruptible at $0.92/h, there for 68 % of its time." in text


def test_items_of_a_public_trace_are_worked_on(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "azure.csv.gz"
    path.write_bytes(gzip.compress(AZURE.encode()))
    words = ("--items-per-second", 1, "--on-demand-usd", 3, "--stretch", 6)
    told = json.loads(run("what-if", "emb", "--trace", path, *words, "--json"))
    assert (told["came"], told["items"], told["present"]["left"]) == (3, 0, 0)
    assert told["hours"] == pytest.approx(1, abs=0.01)


def test_a_count_and_seconds_are_read_in_any_order(tmp_path: Path) -> None:
    path = written(tmp_path / "own.csv", "Count,Time\n3,60\n2,0\n1,60.9\n")
    found = trace_files.read(path)
    assert isinstance(found, Came)
    assert (found.seconds, found.counts) == ([0, 60], [2, 4])
    recorded = trace_files.read(WEST)
    assert isinstance(recorded, Stood)
    assert recorded.gap_seconds == 195


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "wrong is empty; give .* or CSV with a header such as time,count"),
        ("\xef\xbb\xbf\n", "wrong is empty"),
        ("time;count\n1;1\n", "line 1: a semicolon is between the columns; put a comma there"),
        ("time\tcount\n1\t1\n", "line 1: a tab is between the columns"),
        ("when,count\n1,1\n", "line 1: no column is called time"),
        ("time,count\n1,1\nsoon,1\n", "line 3: the time is 'soon'; give a moment such as 2026-"),
        ("time,count\n1,-4\n", "line 2: the count is '-4'; give a whole number of items"),
        ("time,count\n1\n", "line 2: only 1 column; the header has more"),
        ("time\nnan\n", "line 2: the time is 'nan'"),
        ("time,count\n1,0\n", "0 items; give 1 to 1,000,000,000"),
        ('{"data": [1]}', "give an object such as"),
        ('{"metadata": {"gap_seconds": 0}, "data": [1]}', "metadata.gap_seconds is 0; give 1 to"),
        ('{"metadata": {"gap_seconds": 9}, "data": [1, "up"]}', r"data\[1\] is 'up'; give 0, or 1"),
        ('{"metadata": {', "not JSON: .* line 1 column"),
        ("\x1f\x8bnothing", "not text, nor text packed with gzip"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(WrongFile, match=says):
        trace_files.read(path)


def test_a_csv_that_excel_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "came.csv"
    path.write_bytes(b"\xef\xbb\xbftime,count\r\n10,2\r\n70,3\r\n")
    came = trace_files.read(path)
    assert isinstance(came, trace_files.Came)
    assert (came.seconds, came.counts) == ([0, 60], [2, 3])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--hours", "3"], "--hours belongs to --trace"),
        (["--trace", "nowhere.csv"], "No such file"),
        (["--trace", WEST], "the backlog is"),
        (["--trace", WEST, "--items", "9"], "give --items-per-second of one pod"),
        (["--trace", WEST, "--spot-usd", "1", "--spot-usd", "2"], "2 for 1 recording of offers"),
        (
            ["--trace", WEST, "--items", 9, *PRICES, "--skip-hours", 5000],
            "nothing is recorded after",
        ),
        (["--trace", WEST, "--items", "9", *PRICES, "--set", "max_instances=8"], "present value"),
        (["--trace", WEST, "--to", "2026-12-01T00:00Z"], "here take --hours"),
        (["--trace", WEST, "--spot-usd", "free"], "give USD above 0"),
    ],
)
def test_bad_words_are_refused(fleet: Fleet, words: list[object], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run("what-if", "emb", *words)
