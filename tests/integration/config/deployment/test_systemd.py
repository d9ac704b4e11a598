"""The units in deploy/systemd run what docker-compose.yml runs, and systemd can read them."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support import compose

pytestmark = pytest.mark.one_database

FOLDER = ROOT / "deploy" / "systemd"
COMMON = FOLDER / "podfleet-.service.d" / "common.conf"
EXAMPLE = FOLDER / "podfleet.env.example"
HOME, PROGRAMS = "/opt/podfleet/", "/opt/podfleet/.venv/bin/"
UNITS = {"migrate": "prepare", **{name: name for name in compose.PROCESSES}}
# Compose publishes these two on 127.0.0.1; a unit listens there itself.
LOOPBACK: Mapping[str, Callable[[list[str]], list[str]]] = {
    "web": lambda words: ["127.0.0.1" if word == "0.0.0.0" else word for word in words],
    "flower": lambda words: [*words[:5], "--address=127.0.0.1", *words[5:]],
}
MOST_EXPOSED = 20  # of 100, as systemd counts; a unit without any option has 96


def values(unit: Path, key: str) -> list[str]:
    """What a key is set to, in order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def variables(unit: Path) -> dict[str, str]:
    words = [word for line in values(unit, "Environment") for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def unit_of(service: str) -> Path:
    return FOLDER / f"podfleet-{UNITS[service]}.service"


def installed(folder: Path) -> Path:
    """The units in a folder of their own, with programs that exist, as systemd asks for."""
    units, home = folder / "units", folder / "podfleet"
    shutil.copytree(FOLDER, units)
    for program in ("python", "celery", "granian"):
        file = home / ".venv" / "bin" / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
    for unit in units.glob("*.service"):
        unit.write_text(unit.read_text().replace(HOME, f"{home}/"))
    return units


def systemd_analyze(*arguments: str, units: Path) -> subprocess.CompletedProcess[str]:
    # The colon at the end adds systemd's own units.
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_COLORS": "0"}
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("service", UNITS)
def test_each_unit_runs_what_compose_runs(service: str) -> None:
    unit = unit_of(service)
    [line] = values(unit, "ExecStart")
    set_here = variables(unit)
    line = line.replace("%%", "%").replace(
        "${VENDOR_CONCURRENCY}", set_here.get("VENDOR_CONCURRENCY", "")
    )
    assert line.startswith(PROGRAMS)
    expected = compose.command(service)
    if service in LOOPBACK:
        expected = LOOPBACK[service](expected)
    assert shlex.split(line.removeprefix(PROGRAMS)) == expected
    remapped = compose.environment(service).get("REMAP_SIGTERM")
    assert set_here.get("REMAP_SIGTERM") == remapped


def test_the_target_starts_every_unit_and_a_process_waits_for_the_tables() -> None:
    wanted = " ".join(values(FOLDER / "podfleet.target", "Wants")).split()
    assert sorted(wanted) == sorted(unit.name for unit in FOLDER.glob("*.service"))
    assert sorted(wanted) == sorted(unit_of(service).name for service in UNITS)
    assert values(COMMON, "PartOf") == ["podfleet.target"]
    for service in compose.PROCESSES:
        unit = unit_of(service)
        assert "podfleet-prepare.service" in values(unit, "After")[0].split()
        assert values(unit, "ExecStartPre") == [f"{PROGRAMS}python manage.py migrate --check"]
        assert values(unit, "Restart") == ["always"]


def test_the_units_and_the_example_set_what_compose_needs() -> None:
    shared = variables(COMMON)
    example = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    needed = compose.needed()
    assert needed - shared.keys() - example.keys() == set()
    for name, value in {"PODFLEET_PRODUCTION": "1", "PODFLEET_LOG_JSON": "1"}.items():
        assert shared[name] == compose.environment("migrate")[name] == value
    assert example.keys() - compose.known() == set()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_can_read_the_units_and_they_are_confined(tmp_path: Path) -> None:
    units = installed(tmp_path)
    files = sorted(map(str, [*units.glob("*.service"), *units.glob("*.target")]))
    read = systemd_analyze("verify", *files, units=units)
    assert (read.returncode, read.stdout + read.stderr) == (0, "")
    judged = systemd_analyze(
        "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager",
        str(units / "podfleet-worker-vendor.service"), units=units,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout[-200:]

    web = units / "podfleet-web.service"
    web.write_text(web.read_text().replace("Restart=", "Restarts="))
    assert "Restarts" in systemd_analyze("verify", str(web), units=units).stderr
