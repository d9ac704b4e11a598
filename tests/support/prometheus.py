"""Prometheus and promtool of this machine, and the queries that this repository asks of them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
RULES = FOLDER / "rules.yml"
CONFIG = FOLDER / "prometheus.yml"
DASHBOARDS = FOLDER / "grafana" / "dashboards"
# The folder with the programs, if they are not on the path: Debian's package `prometheus` has both.
VARIABLE = "TEST_PROMETHEUS_DIR"
METRIC = re.compile(r"\bpodfleet_\w+")
OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query of a panel or of a rule."""

    where: str
    expr: str

    @property
    def metrics(self) -> set[str]:
        """The metrics of ours that it names; a histogram by its own name."""
        return {OF_HISTOGRAM.sub("", name) for name in METRIC.findall(self.expr)}


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`; the test is skipped where there is none."""
    folder = os.environ.get(VARIABLE)
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: install Debian's package prometheus, or set {VARIABLE}")
    return found


def promtool(*words: str, cwd: Path = FOLDER, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool; `given`: what it reads."""
    return subprocess.run(
        [program("promtool"), *words],
        input=given,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def rules() -> Sequence[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def boards() -> Iterator[dict[str, Any]]:
    for file in sorted(DASHBOARDS.glob("*.json")):
        yield json.loads(file.read_text())


def panel_queries() -> Iterator[Query]:
    """The queries of all panels, as Grafana sends them with all fleets chosen."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$fleet", ".*").replace("$__rate_interval", "1m")
                yield Query(where=f"{board['title']}, {panel['title']}", expr=expr)


def rule_queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(where=rule["alert"], expr=rule["expr"])
