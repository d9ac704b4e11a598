"""The dashboards and alert rules name metrics that exist, and every rule leads to its page."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from config.env import ROOT
from tests.support import prometheus
from tests.support.metrics_page import TOKEN, full_page

QUERIES = [*prometheus.panel_queries(), *prometheus.rule_queries()]
RULES = {rule["alert"]: rule for rule in prometheus.rules()}


@pytest.mark.django_db
@pytest.mark.one_database
def test_every_panel_and_rule_asks_for_metrics_that_the_page_has(
    redis_url: str, settings: Any
) -> None:
    settings.REDIS_URL, settings.METRICS_TOKEN = redis_url, TOKEN
    families = list(text_string_to_metric_families(full_page()))
    shown = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    assert shown
    unknown = {q.where: q.metrics - shown for q in QUERIES if q.metrics - shown}
    assert unknown == {}
    # Each panel shows something of ours, but for the one that times the scrape.
    assert {q.where for q in QUERIES if not q.metrics} == {
        "Podfleet: the manager, Read in",
        "PodfleetDown",
    }


@pytest.mark.django_db
@pytest.mark.one_database
def test_promtool_has_nothing_to_say_about_the_names(redis_url: str, settings: Any) -> None:
    settings.REDIS_URL, settings.METRICS_TOKEN = redis_url, TOKEN
    done = prometheus.promtool("check", "metrics", given=full_page())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_promtool_can_read_every_query(tmp_path: Path) -> None:
    file = tmp_path / "queries.yml"
    recorded = [{"record": f"panel:{n}", "expr": q.expr} for n, q in enumerate(QUERIES)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = prometheus.promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    (tmp_path / "rules.yml").write_text(prometheus.RULES.read_text())
    text = prometheus.CONFIG.read_text()
    assert text.count("/run/secrets/metrics-token") == 1
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics-token", str(token)))
    done = prometheus.promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_fires_for_its_fault_and_not_without_it() -> None:
    done = prometheus.promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load((prometheus.FOLDER / "rules_test.yml").read_text())["tests"]
    asked = [check for case in cases for check in case["alert_rule_test"]]
    for name in RULES:
        fires = {bool(check["exp_alerts"]) for check in asked if check["alertname"] == name}
        assert fires == {True, False}, name


def test_each_rule_leads_to_its_own_heading_of_the_page() -> None:
    page = ROOT / "docs" / "reference" / "prometheus-alerts.md"
    targets = {}
    for name, rule in RULES.items():
        path, _, targets[name] = rule["annotations"]["runbook"].partition("#")
        assert ROOT / path == page
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
    assert targets == {name: name.lower() for name in RULES}
    assert re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE) == list(RULES)


def test_the_panels_have_words_and_units_and_do_not_overlap() -> None:
    uids = []
    for board in prometheus.boards():
        uids.append(board["uid"])
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "podfleet-prometheus"
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            assert apart(one, other), board["title"]
    assert len(set(uids)) == len(uids) == 3


def apart(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_compose_starts_both_only_when_asked_with_files_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    asked = {n: s for n, s in compose["services"].items() if s.get("profiles") == ["monitoring"]}
    assert set(asked) == {"prometheus", "grafana"}
    for service in asked.values():
        assert ":-" in service["image"]  # another registry can be named
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).is_dir(), source
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    token = compose["services"]["prometheus"]["secrets"]
    assert [compose["secrets"][name] for name in token] == [
        {"environment": "PODFLEET_METRICS_TOKEN"}
    ]
    source = yaml.safe_load(
        (prometheus.FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    assert source["uid"] == "podfleet-prometheus"
