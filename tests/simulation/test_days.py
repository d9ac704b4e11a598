"""Seeded days: 24 hours each, and the same again from the same seed."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.databases import Fresh
from tests.simulation.day import Lived, live

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quiet() -> None:
    for name in ("pods", "fleet", "stamina"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def lived(redis_url: str, seed: int) -> Lived:
    fresh = Fresh()
    day = live(redis_url, seed, fresh)
    fresh.restore()
    return day


def simulated(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.simulation", *arguments, "--json"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.one_database
@pytest.mark.timeout(120)
def test_the_command_lives_days_of_faults_and_none_of_them_twice(tmp_path: Path) -> None:
    file = tmp_path / "days.jsonl"
    ended = simulated("--seeds", "1", "--first-seed", "2", "--keep", str(file))
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["histories"] == 1
    assert told["fewest_hours"] >= 24
    assert told["fewest_faults"] >= 50
    assert told["pods"] > 0
    assert told["seeds_violating"] == []
    first = json.loads(file.read_text())
    file.write_text(f"{json.dumps(first | {'pods': 1000})}\n" + '{"seed": 3, "fau')  # a kill
    ended = simulated("--seeds", "2", "--first-seed", "2", "--jobs", "2", "--keep", str(file))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["histories"] == 2
    assert json.loads(ended.stdout)["pods"] > 1000
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [2, 3]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("notes", "says"), [("milk\neggs\n", "line 1: no day"), ("milk", "ends with no day")]
)
def test_the_command_refuses_a_file_of_something_else(
    tmp_path: Path, notes: str, says: str
) -> None:
    (tmp_path / "notes").write_text(notes)
    ended = simulated("--seeds", "1", "--keep", str(tmp_path / "notes"))
    assert ended.returncode != 0
    assert f"{says}; give a file that --keep has written, or a new one" in ended.stderr
    assert (tmp_path / "notes").read_text() == notes


@pytest.mark.timeout(120)
def test_the_same_seed_is_the_same_history(redis_url: str) -> None:
    first, again = lived(redis_url, 2), lived(redis_url, 2)
    assert first.fingerprint == again.fingerprint
    assert lived(redis_url, 3).fingerprint != first.fingerprint


# Seeds that found a bug once (docs/explanation/reliability-runs.md), and a few more.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [28, 57, 72, 40])
def test_a_day_has_no_violation(redis_url: str, seed: int) -> None:
    day = lived(redis_url, seed)
    assert day.violation == ""
    assert day.hours >= 24
    assert day.faults >= 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1000, 1200, 20))
def test_days_have_no_violation(redis_url: str, first: int) -> None:
    days = [lived(redis_url, seed) for seed in range(first, first + 20)]
    assert [day.violation for day in days if day.violation] == []
    assert all(day.hours >= 24 for day in days)
