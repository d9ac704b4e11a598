"""The bootstrap one step at a time: its heartbeats, the installation, and how the agent begins."""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pods.agent import bootstrap, disk, python_needed, warming
from pods.agent.bootstrap import EXIT_FENCED, EXIT_ORPHANED, Report, Steps
from pods.agent.start import Failed, Refused

PYTHON = "/e/bin/python"


class Ended(Exception):
    """The process has ended, or has become another program."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    time = SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep, time_ns=lambda: 1)
    monkeypatch.setattr(bootstrap, "time", time)
    return clock


class Server:
    """What Redis answers to a machine that begins."""

    def __init__(self) -> None:
        self.fenced, self.lease, self.command, self.away = "0", b"", b"", False
        self.said = list[Any]()

    def __call__(self, word: str, *words: Any) -> Any:
        if self.away:
            raise OSError("Redis does not answer")
        if word == "HSET":
            self.said.append(dict(zip(words[1::2], words[2::2], strict=True)))
        if word == "GET":
            return self.lease if words[0].endswith("lease") else self.command
        return {"EXISTS": self.fenced, "TIME": ["7", "2000"]}.get(word, "1")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def report(server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    env = {"PODFLEET_FLEET": "f", "PODFLEET_POD": "p", "PODFLEET_ORPHAN_SECONDS": "100"}
    made: Any = Report(server, "/w.whl", env)  # type: ignore[arg-type]
    made.left = []
    monkeypatch.setattr(made, "leave", made.left.append)
    return made


def test_a_machine_that_begins_goes_on_while_a_manager_lives(
    report: Any, server: Server, clock: Clock
) -> None:
    for lease in (b"1", b"2", b"3"):
        server.lease = lease
        clock.now += 90
        report.beat()
    assert report.left == []
    assert (server.said[0]["state"], server.said[0]["at_ms"]) == ("starting", 7002)


@pytest.mark.parametrize("lease", [b"1", b""], ids=["it stands still", "it is gone"])
def test_without_a_manager_it_ends_its_machine(
    report: Any, server: Server, clock: Clock, lease: bytes
) -> None:
    server.lease = b"1"
    report.beat()
    server.lease = lease
    clock.now += 90
    report.beat()
    assert report.left == []
    clock.now += 20
    report.beat()
    assert report.left == [EXIT_ORPHANED]


@pytest.mark.parametrize(
    ("change", "left"),
    [({"fenced": "1"}, [EXIT_FENCED]), ({"command": b"drain"}, [0]), ({"away": True}, [])],
)
def test_it_ends_where_the_manager_does_not_want_it(
    report: Any, server: Server, change: dict[str, Any], left: list[int]
) -> None:
    vars(server).update(change)
    report.beat()
    assert report.left == left
    assert len(server.said) == ("command" in change)  # a pod that is written off writes nothing


@pytest.mark.parametrize("code", [0, EXIT_FENCED, EXIT_ORPHANED])
@pytest.mark.parametrize("installs", [False, True])
def test_at_its_end_it_ends_the_installation_and_only_an_orphan_its_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch, code: int, installs: bool
) -> None:
    report = Report(server, "/w.whl", {"PODFLEET_FLEET": "f", "PODFLEET_POD": "p"})  # type: ignore[arg-type]
    did = list[Any]()
    if installs:
        report.child = SimpleNamespace(kill=lambda: did.append("killed"))  # type: ignore[assignment]

    def become(python: str, words: Sequence[str]) -> None:
        did.append(words[-2:])
        raise Ended

    def end(status: int) -> None:
        did.append(status)
        raise Ended

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended):
        report.leave(code)
    last = [bootstrap.END, "/w.whl"] if code == EXIT_ORPHANED else code
    assert did == [*(["killed"] if installs else []), last]


@pytest.mark.parametrize("misses", [3, 1000])
def test_code_that_is_not_there_is_waited_for_and_not_for_ever(
    report: Any, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misses: int
) -> None:
    left = list(range(misses))
    (tmp_path / "code" / "digest").mkdir(parents=True)

    def fetch(*_: object) -> None:
        if left:
            left.pop()
            raise Failed("it is not there")

    monkeypatch.setattr(bootstrap, "fetch", fetch)
    if misses == 3:
        assert bootstrap.fetched(report, str(tmp_path), "digest") == f"{tmp_path}/code/digest"
        assert report.note == "waiting for the code: it is not there"
    else:
        with pytest.raises(Failed, match="it is not there"):
            bootstrap.fetched(report, str(tmp_path), "digest")
        assert clock.now - 1000 == pytest.approx(bootstrap.CODE_PATIENCE_SECONDS, abs=3)


class Machine:
    """The packages and programs of an image, and what is run on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran, self.fails = list[list[str]](), False
        self.packages, self.uv = {"pip"}, ""
        self.home = ""
        monkeypatch.setattr(bootstrap, "run", self.run)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: self.uv or None)
        monkeypatch.setattr(
            metadata,
            "distributions",
            lambda: [SimpleNamespace(metadata={"Name": name}) for name in self.packages],
        )

    def run(self, command: Sequence[str], env: Any, steps: Any) -> None:
        self.ran.append(list(command))
        if "venv" in command:
            (Path(command[-1]) / "lib" / "python3.x" / "site-packages").mkdir(parents=True)
        elif self.fails:
            raise Failed("no network")

    def installer(self, wants: int, *, inherits: bool = True) -> list[str]:
        return list(bootstrap.installer(PYTHON, wants, {}, Steps(), inherits=inherits))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


TORCH, MANY, FEW = {"Pip", "torch"}, bootstrap.WORTH_UV + 1, bootstrap.WORTH_UV
NEW_UV = ["/e/bin/uv", "pip", "install", "--python", PYTHON]
OWN_UV = ["/usr/bin/uv", "pip", "install", "--python", PYTHON]
PIP = [PYTHON, "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]
OTHER_PIP = [sys.executable, *PIP[1:-1], "--python", PYTHON, "install"]
BAR = "--progress-bar=off"


@pytest.mark.parametrize(
    ("packages", "uv", "wants", "inherits", "command"),
    [
        ({"pip", "podfleet-agent"}, "/usr/bin/uv", FEW, True, OWN_UV),
        ({"pip"}, "/usr/bin/uv", MANY, True, OWN_UV),
        ({"pip"}, "", FEW, True, [*PIP, BAR]),
        (TORCH, "/usr/bin/uv", MANY, True, [*PIP, BAR]),
        (TORCH, "", MANY, True, [*PIP, BAR]),
        ({"torch"}, "/usr/bin/uv", FEW, True, OWN_UV),
        (TORCH, "/usr/bin/uv", FEW, False, OWN_UV),
        ({"pip"}, "", MANY, False, [*OTHER_PIP, BAR]),
    ],
)
def test_what_installs_follows_from_the_image_and_needs_nothing_more(
    machine: Machine, packages: set[str], uv: str, wants: int, inherits: bool, command: list[str]
) -> None:
    machine.packages, machine.uv = packages, uv
    assert machine.installer(wants, inherits=inherits) == command
    assert machine.ran == []


@pytest.mark.parametrize(("fails", "command"), [(False, NEW_UV), (True, [*PIP, BAR])])
def test_many_packages_are_worth_uv_in_a_bare_image_where_it_can_be_had(
    machine: Machine, fails: bool, command: list[str]
) -> None:
    machine.fails = fails
    assert machine.installer(MANY) == command
    assert machine.ran == [[*PIP, BAR, "--retries=0", "uv"]]


def test_an_image_without_pip_and_uv_gets_pip(machine: Machine) -> None:
    machine.packages = {"torch"}
    assert machine.installer(FEW) == [*PIP, BAR]
    assert machine.ran == [[PYTHON, "-m", "ensurepip"]]


@pytest.mark.parametrize("agent", ["", "podfleet-agent @ file:///w.whl"])
@pytest.mark.parametrize("in_environment", [False, True])
def test_an_environment_is_built_once_with_hashed_requirements_first(
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    agent: str,
    in_environment: bool,
) -> None:
    monkeypatch.setattr(sys, "prefix", "/image/env" if in_environment else sys.base_prefix)
    wants = ["numpy==2 --hash=sha256:1", "idna"]
    for _ in range(2):
        python = bootstrap.environment(str(tmp_path), agent, wants, {}, Steps())
    home = Path(python).parents[1]
    venv, hashed, bare = machine.ran
    assert ("--system-site-packages" in venv) is bool(agent)
    assert [words[-1] for words in (hashed, bare)] == [f"{home}/hashed.txt", f"{home}/bare.txt"]
    assert (home / "hashed.txt").read_text() == wants[0]
    assert (home / "bare.txt").read_text().split("\n") == [*filter(None, [agent]), "idna"]
    image = home / "lib" / "python3.x" / "site-packages" / "image.pth"
    assert image.exists() is (bool(agent) and in_environment)
    assert (home / "ready").exists()


def test_nothing_is_installed_where_nothing_is_asked_for(machine: Machine, tmp_path: Path) -> None:
    bootstrap.environment(str(tmp_path), "", [], {}, Steps())
    assert len(machine.ran) == 1  # the environment itself


def test_the_users_own_path_is_behind_that_of_the_code() -> None:
    env = bootstrap.for_agent(PYTHON, "/code", [".", "src"], {"PYTHONPATH": "/mine"})
    assert env["PYTHONPATH"] == "/code/.:/code/src:/mine"
    assert bootstrap.for_agent(PYTHON, "/code", ["src"], {})["PYTHONPATH"] == "/code/src"


def test_models_of_the_users_home_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "HF_HOME" in bootstrap.with_models_kept({}, "/volume")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    assert "HF_HOME" not in bootstrap.with_models_kept({}, "/volume")


def test_an_odd_list_of_extras_is_understood() -> None:
    agent, _ = bootstrap.of_wheel(["podfleet-agent[onnx,]"], "/w.whl", [])
    assert agent == "podfleet-agent[onnx] @ file:///w.whl"


@pytest.mark.parametrize(("kind", "extras"), [("", ""), ("dataset", "[datasets]")])
@pytest.mark.parametrize("days", ["", "3"])
def test_the_agent_begins_with_its_code_and_the_fleets_secrets(
    report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, extras: str, days: str
) -> None:
    did: dict[str, Any] = {}
    (tmp_path / ".podfleet").mkdir()
    bundle = {"requirements": ["idna"], "paths": ["."]}
    (tmp_path / ".podfleet" / "bundle.json").write_text(json.dumps(bundle))
    flat = [b"version", b"1", b"env:PIP_INDEX_URL", b"https://i", b"env:HF_TOKEN", b"t"]
    monkeypatch.setattr(report, "redis", lambda *words: flat)
    monkeypatch.setattr(bootstrap, "fetched", lambda *_: str(tmp_path))
    monkeypatch.setattr(report, "say", lambda *_: None)
    monkeypatch.setattr(python_needed, "ensure", lambda *_, **__: None)
    monkeypatch.setattr(disk, "sweep", lambda cache, age: did.update(swept=age))
    monkeypatch.setattr(os, "chdir", lambda path: None)
    monkeypatch.setattr(os, "execve", lambda *words: did.update(begun=words[1]))
    monkeypatch.setattr(warming, "warm", lambda *words: did.update(secrets=words[3]))

    def environment(cache: str, agent: str, wants: Any, env: Any, steps: Any) -> str:
        did.update(agent=agent, wants=wants, index=env["PIP_INDEX_URL"])
        return PYTHON

    monkeypatch.setattr(bootstrap, "environment", environment)
    env = {"PODFLEET_BUNDLE": "digest", "PODFLEET_KIND": kind, "PODFLEET_CACHE_DAYS": days}
    bootstrap.work(report, "/cache", env, looked=False)
    assert did.pop("swept", None) == (3.0 if days else None)
    assert did == {
        "agent": f"podfleet-agent{extras} @ file:///w.whl",
        "wants": ["idna"],
        "index": "https://i",
        "secrets": {"PIP_INDEX_URL": "https://i", "HF_TOKEN": "t"},
        "begun": [PYTHON, "-m", "pods.agent"],
    }


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Failed("use another image"), ["use another image"]),
        (KeyError("x"), ["KeyError: 'x'"]),
        (Refused("NOAUTH"), []),
    ],
)
@pytest.mark.parametrize("cache", ["", "/volume"])
def test_what_keeps_an_agent_from_beginning_is_said_until_the_pod_is_ended(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, said: list[str], cache: str
) -> None:
    heard, left, caches = list[str](), list[int](), list[str]()

    def sleep(seconds: float) -> None:
        raise Ended

    def work(report: Any, place: str, env: Any, *, looked: bool) -> None:
        caches.append(place)
        raise fault

    made = SimpleNamespace(
        run=lambda: None, orphan=1, leave=left.append, say=lambda note, state: heard.append(note)
    )
    monkeypatch.setattr(bootstrap, "Report", lambda *_: made)
    monkeypatch.setattr(bootstrap, "work", work)
    monkeypatch.setattr(bootstrap, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    env = {"PODFLEET_REDIS_URL": "redis://h", "PODFLEET_CACHE": cache}
    if said:
        with pytest.raises(Ended):
            bootstrap.main("/w.whl", env)
    else:
        bootstrap.main("/w.whl", env)
        assert left == [EXIT_FENCED]
    assert heard == said
    assert caches == [cache or str(Path("~/.cache/podfleet").expanduser())]
