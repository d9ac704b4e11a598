"""Seeded days of 24 hours; the same seed gives the same day."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.databases import CleanDatabase
from tests.simulation.seeded import DayResult, run_day

CHECKOUT = Path(__file__).parents[2]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quiet")]


def day_of(redis_url: str, seed: int) -> DayResult:
    database = CleanDatabase()
    day = run_day(redis_url, seed, database)
    database.restore()
    return day


def simulated(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.simulation", *arguments, "--json"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.one_database
@pytest.mark.timeout(120)
@pytest.mark.takes(10)
def test_the_command_runs_days_with_faults_and_no_day_twice(tmp_path: Path) -> None:
    file = tmp_path / "days.jsonl"
    ended = simulated("--seeds", "1", "--first-seed", "12", "--keep", str(file))
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["histories"] == 1
    assert summary["fewest_hours"] >= 24
    assert summary["fewest_faults"] >= 50
    assert summary["pods"] > 0
    assert summary["seeds_violating"] == []
    first = json.loads(file.read_text())
    file.write_text(
        f"{json.dumps(first | {'pods': 1000})}\n" + '{"seed": 13, "fau'
    )  # as after a kill
    ended = simulated("--seeds", "2", "--first-seed", "12", "--jobs", "2", "--keep", str(file))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["histories"] == 2
    assert json.loads(ended.stdout)["pods"] > 1000
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [12, 13]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("notes", "says"), [("milk\neggs\n", "line 1 is not a day"), ("milk", "is not a day")]
)
def test_the_command_refuses_a_file_that_has_no_days(tmp_path: Path, notes: str, says: str) -> None:
    (tmp_path / "notes").write_text(notes)
    ended = simulated("--seeds", "1", "--keep", str(tmp_path / "notes"))
    assert ended.returncode != 0
    assert f"{says}; give a file that --keep has written, or a new one" in ended.stderr
    assert (tmp_path / "notes").read_text() == notes


@pytest.mark.one_database  # three days; the test below plays one on each database
@pytest.mark.parametrize(
    "seed", [12, pytest.param(8, id="with a dataset", marks=[pytest.mark.slow])]
)
@pytest.mark.timeout(120)
def test_the_same_seed_gives_the_same_history(redis_url: str, seed: int) -> None:
    first, again = day_of(redis_url, seed), day_of(redis_url, seed)
    assert first.violation == ""
    assert first.fingerprint == again.fingerprint
    assert day_of(redis_url, 13).fingerprint != first.fingerprint


# Seeds that found a bug when their days were other ones (docs/explanation/reliability-runs.md).
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "seed", [28, *(pytest.param(seed, marks=[pytest.mark.slow]) for seed in (57, 72, 40))]
)
def test_a_day_has_no_violation(redis_url: str, seed: int) -> None:
    day = day_of(redis_url, seed)
    assert day.violation == ""
    assert day.hours >= 24
    assert day.faults >= 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1000, 1200, 20))
def test_days_have_no_violation(redis_url: str, first: int) -> None:
    days = [day_of(redis_url, seed) for seed in range(first, first + 20)]
    assert [day.violation for day in days if day.violation] == []
    assert all(day.hours >= 24 for day in days)
