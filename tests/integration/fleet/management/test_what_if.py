"""`fleet what-if` reads the recorded ticks of a fleet and decides them anew with other settings."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError

from fleet.decision.decide import decide
from fleet.models import Fleet, Limits, Tick
from fleet.tick import ticking
from fleet.tick.policies import policy_of
from fleet.tick.recording import replayed, replayed_policy
from tests.support.factories import a_fleet
from tests.support.fleet_command import run
from tests.support.recorded_ticks import PRICE, an_hour

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet() -> Fleet:
    return a_fleet(name="emb", target_depth_per_pod=500)


@pytest.mark.parametrize("policy", [True, False], ids=["with policies", "of an older version"])
def test_other_settings_are_compared_with_what_was(
    fleet: Fleet, policy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    an_hour(fleet, policy=policy)
    told = json.loads(
        run("what-if", "emb", "--set", "max_instances=3", "--set", "spawn-per-tick=2", "--json")
    )
    assert told["set"] == "max_instances=3, spawn_per_tick=2"
    assert [told[name]["most_pods"] for name in ("recorded", "model", "changed")] == [1, 1, 3]
    ends = [told[name]["done_at"] for name in ("changed", "model")]
    assert ends == sorted(ends)
    assert Decimal(told["recorded"]["cost_usd"]) == PRICE
    assert all(told[name]["left"] == 0 for name in ("recorded", "model", "changed"))
    assert len(told["changed"]["points"]) <= 200
    run("what-if", "emb", "--set", "max_instances=3")
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("as it was", "model of it", "max_instances=3"))


def test_what_was_is_shown_without_another_setting(fleet: Fleet) -> None:
    an_hour(fleet)
    assert "changed" not in json.loads(run("what-if", "emb", "--json"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "max_instances"], "give a field of `fleet set` and a value, FIELD=VALUE"),
        (["--set", "pods=8"], "give a field of `fleet set`"),
        (["--from", "2026-12-01"], "give a moment with its zone"),
        (["--from", "2026-13-01T00:00Z"], "give a moment with its zone"),
        (["--from", "2026-12-01T10:00Z", "--to", "2026-12-01T09:00Z"], "is not before"),
        (["--set", "image=other:1"], "no decision depends on it"),
        (["--set", "max_instances=1"], "that is the present value"),
        ([], "only 0 decisions recorded"),
    ],
)
def test_what_cannot_be_compared_is_said(fleet: Fleet, words: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run("what-if", "emb", *words)


def test_a_wrong_value_is_refused_as_an_edit_is(fleet: Fleet) -> None:
    with pytest.raises(CommandError, match="integer"):
        run("what-if", "emb", "--set", "max_instances=many")
    assert Fleet.objects.get(pk=fleet.pk).max_instances == 1


def test_a_tick_records_all_that_decided_it(redis_url: str) -> None:
    fleet = a_fleet(max_instances=3, daily_budget_usd=Decimal("12.5"), idle_seconds=77)
    Limits.objects.update(max_instances=9)
    ticking.tick_fleet(fleet.pk)
    tick = Tick.objects.get()
    policy = replayed_policy(json.loads(json.dumps(tick.policy)))
    assert policy == policy_of(fleet, Limits.get(), tick.at)
    again = decide(replayed(tick.snapshot), policy)
    assert (again.target, again.sentence) == (tick.target, tick.sentence)


def unknown_policies() -> list[dict[str, Any]]:
    return [{}, {"target_depth_per_pod": "many"}]


@pytest.mark.parametrize("raw", unknown_policies())
def test_what_is_no_policy_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="target_depth_per_pod"):
        replayed_policy(raw)
