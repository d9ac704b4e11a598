"""`fleet list` says why a backlog is unknown."""

import pytest

from fleet import operating
from fleet.tick import ticking
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.states import FAILED
from tests.support.factories import a_fleet, a_pod
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db


def test_the_list_says_once_why_the_backlogs_of_a_server_are_unknown(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("emb", "img"):
        a_fleet(name=name, stream=name, backlog_url="redis://:hunter2@127.0.0.1:1/0")
    a_fleet(name="here")
    run("list")
    said = capsys.readouterr().out
    [why] = [line for line in said.splitlines() if line.startswith("emb, img: ")]
    assert "Redis does not answer" in why
    assert "Connection refused" in why
    assert "hunter2" not in said


def test_the_list_of_known_backlogs_has_no_reasons(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = a_fleet(name="emb")
    run("list")
    assert "emb: " in capsys.readouterr().out  # its stream does not exist yet
    operating.make_group(fleet)
    run("list")
    assert "emb: " not in capsys.readouterr().out


def test_a_long_error_takes_three_lines_of_the_list(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fleet = a_fleet(name="emb")
    operating.make_group(fleet)
    reason = "the handler cannot be loaded: " + "no module named nope " * 20
    for _ in range(3):
        a_pod(fleet, FAILED, retire_rule="agent_failed", failed_at=utcnow(), because=reason)
    redis_client(redis_url).xadd(fleet.stream, {"payload": "1"})
    ticking.tick_fleet(fleet.pk)
    run("list")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 6
    assert any("…" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
