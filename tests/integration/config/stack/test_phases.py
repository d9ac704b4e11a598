"""The phases of a fleet's life, with real workers, beat, agents and Valkey."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.installation import (
    FAST,
    TICK_SECONDS,
    Installation,
    agents,
    ready,
    results,
    write_items,
)


@pytest.mark.timeout(300)
@pytest.mark.takes(60)
def test_a_fleet_runs_one_pod_then_three_then_none_then_one_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet, look = installation.fleet, installation.look
    fleet("create", "emb", *FAST)
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 2500)))
    installation.start(monkeypatch)

    # max_instances is 1 by default: a single pod for a backlog of any depth
    installation.until(lambda: ready(look("emb")) == 1)
    shown = fleet("show", "emb")
    assert len(shown["pods"]) == 1
    assert "Max pods is 1" in shown["last_decision"]

    # max_instances is raised while the fleet runs: each tick adds one pod
    fleet("set", "emb", "--max-instances", "3")
    installation.until(lambda: ready(look("emb")) == 3)
    spawned = installation.rows("spawned")
    assert [count for count, _ in spawned] == [1, 1, 1]
    assert all(b - a > TICK_SECONDS / 2 for (_, a), (_, b) in pairwise(spawned))

    # the backlog is empty: each pod is retired after its own idle time
    installation.until(lambda: look("emb")["pods"] == [], seconds=120)
    history = installation.rows("ended")
    assert [state for state, _ in history] == ["terminated"] * 3
    assert all(why.startswith("idle for ") for _, why in history)
    assert agents(installation.var) == []

    # new items arrive: the fleet runs again
    fleet("enqueue", "emb", str(write_items(tmp_path / "b.txt", 200)))
    installation.until(lambda: look("emb")["depth"] == 0)
    installation.until(lambda: look("emb")["pods"] == [])
    found = results(installation.redis_url)
    assert sorted(found) == sorted(
        [f"a.txt:{n + 1}" for n in range(2500)] + [f"b.txt:{n + 1}" for n in range(200)]
    )
    assert agents(installation.var) == []


@pytest.mark.timeout(300)
@pytest.mark.fault(44)
@pytest.mark.parametrize(
    "pods_too",
    [
        pytest.param(False, id="pods live on", marks=pytest.mark.one_database),
        pytest.param(True, id="pods die too", marks=pytest.mark.slow),
    ],
)
@pytest.mark.takes(45)
def test_the_next_start_after_a_kill_of_everything_finds_the_pods_and_loses_nothing(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pods_too: bool,
) -> None:
    fleet, look = installation.fleet, installation.look
    fleet("create", "emb", *FAST, "--max-instances", "2")
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", 1500)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(look("emb")) == 2)
    before = {p["name"] for p in look("emb")["pods"]}

    installation.kill_everything(pods=pods_too)
    alive = agents(installation.var)
    assert bool(alive) != pods_too

    from config import embedded

    embedded.ensure_running(installation.var)
    installation.start(monkeypatch)

    def names_of_ready() -> set[str]:
        return {p["name"] for p in look("emb")["pods"] if p["state"] == "ready"}

    if pods_too:
        installation.until(lambda: names_of_ready() and not names_of_ready() & before)
    else:
        installation.until(lambda: names_of_ready() == before)

    installation.until(lambda: look("emb")["depth"] == 0, seconds=120)
    installation.until(lambda: look("emb")["pods"] == [])
    found = results(installation.redis_url)
    assert set(found) == {f"a.txt:{n + 1}" for n in range(1500)}
    assert agents(installation.var) == []


@pytest.mark.one_database
@pytest.mark.takes(15)
def test_the_command_line_says_what_is_wrong_and_returns_the_right_status(
    installation: Installation, tmp_path: Path
) -> None:
    run = installation.run
    assert "handler" in installation.cli("fleet", "create", "emb", status=1)
    assert "max_instances" in run(
        "fleet", "create", "emb", *FAST, "--max-instances", "1", "--min-instances", "2", status=1
    )
    assert "invalid choice" in installation.cli("fleet", "dance", "emb", status=2)
    assert "no fleet 'emb'; known: none" in run("fleet", "show", "emb", status=1)
    installation.fleet("create", "emb", *FAST)
    assert "--handler-env" in run("fleet", "set", "emb", "--handler-env", "{", status=1)
    assert "nothing to set" in run("fleet", "set", "emb", status=2)
    assert "greater than" in run("fleet", "set", "emb", "--max-hourly-usd", "-1", status=1)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{"text": \n')
    assert "bad.jsonl:2" in run("fleet", "enqueue", "emb", str(bad), status=1)
    assert installation.fleet("show", "emb")["depth"] == 0
    good = tmp_path / "good.jsonl"
    good.write_text('{"text": "one", "id": "x"}\n')
    assert installation.fleet("enqueue", "emb", str(good)) == {
        "total": 1,
        "added": 1,
        "files": 1,
        "skipped": 0,
        "bad": [],
        "unused": [],
    }
    again = installation.cli("fleet", "enqueue", "--json", "emb", str(good))
    assert json.loads(again)["added"] == 0
    assert installation.fleet("show", "emb")["depth"] == 1
    assert "1 → 0" not in json.dumps(installation.fleet("next", "emb"))
