"""A sample for a quote: one pod, its limits are rows, and the fleet is as it was afterwards."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError

from fleet import measuring, operating
from fleet.decision.values import Mode
from fleet.management import samples
from fleet.measuring import NoSample
from fleet.models import Fleet, SampleRun
from fleet.tick import ticking
from pods.base import clock
from pods.models import Pod
from pods.rules import PodRule
from tests.support.factories import a_fleet, a_pod
from tests.support.fleet_command import run
from tests.support.rigs.runpod_rig import runpod
from tests.support.stage import Stage

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@contextmanager
def staged(redis_url: str, **fleet: Any) -> Iterator[Stage]:
    """A fleet with 5,000 items, whose pods do 2 items a second once they are ready."""
    with runpod() as rig, clock.use(rig.clock):
        rig.server.checks.clear()
        its = {"max_instances": 3, "min_instances": 2, "spawn_per_tick": 4, "mode": "paused"}
        stage = Stage(rig, redis_url, "runpod", **{**its, **fleet})
        stage.enqueue(5000)
        stage.survey()

        def work(pod: Pod) -> None:
            up = (clock.utcnow() - (pod.ready_at or clock.utcnow())).total_seconds()
            stage.beat(pod, done=int(2 * up), rate=2.0, uptime_ms=int(1000 * up) + 1)

        stage.behave = work
        yield stage


def now_there(stage: Stage) -> int:
    return stage.fleet.pods.billable().count()


def settings_of(fleet: Fleet) -> dict[str, Any]:
    row = Fleet.objects.get(pk=fleet.pk)
    return {name: getattr(row, name) for name in operating.EDITABLE}


def test_one_pod_of_a_paused_fleet_works_for_the_items_and_ends(redis_url: str) -> None:
    with staged(redis_url) as stage:
        before = settings_of(stage.fleet)
        begun = measuring.begin(stage.fleet, 300, minutes=60, by="ann")
        assert 0 < begun.most_usd < 100
        most = 0
        while not SampleRun.objects.get().stopped_at:
            stage.step()
            most = max(most, now_there(stage))
        sample = SampleRun.objects.get()
        assert most == 1
        assert 240 <= sample.done <= 300
        assert "the sample of a quote is over" in stage.last.sentence
        stage.run(minutes=5, every=30)
        assert now_there(stage) == 0
        assert Pod.objects.get().retire_rule == PodRule.SAMPLE
        assert SampleRun.objects.get().finished_at is not None
        assert settings_of(stage.fleet) == before
        [speed] = measuring.speeds(stage.fleet, clock.utcnow())
        assert speed.items_per_second == pytest.approx(2, rel=0.2)
        stage.run(minutes=5, every=30)
        assert Pod.objects.count() == 1


def test_a_sample_ends_in_time_although_nobody_waits_for_it(redis_url: str) -> None:
    """Its row alone ends it: here nothing notes that the time is over, not even a tick."""
    with staged(redis_url) as stage:
        begun = measuring.begin(stage.fleet, 10**6, minutes=6, by="ann")
        stage.run(minutes=5, every=30)
        assert now_there(stage) == 1
        stage.clock.advance(120)
        assert begun.run.stopped_at is None
        stage.run(minutes=5, every=30)
        assert now_there(stage) == 0
        assert stage.last.binding in {"paused", "sample"}


@pytest.mark.parametrize("dies_in", ["decide", "_write", "_retire"])
def test_a_tick_that_dies_at_any_line_leaves_the_end_to_the_next_one(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    with staged(redis_url) as stage:
        measuring.begin(stage.fleet, 10**6, minutes=6, by="ann")
        stage.run(minutes=5, every=30)
        stage.clock.advance(120)
        with monkeypatch.context() as patched:
            patched.setattr(ticking, dies_in, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ticking.tick_fleet(stage.fleet.pk)
        stage.run(minutes=6, every=30)
        assert now_there(stage) == 0
        assert Pod.objects.count() == 1
        assert SampleRun.objects.get().finished_at is not None


def test_an_edit_ends_a_sample_and_so_does_a_pause(redis_url: str) -> None:
    with staged(redis_url) as stage:
        measuring.begin(stage.fleet, 10**6, minutes=60, by="ann")
        stage.run(minutes=4)
        assert now_there(stage) == 1
        operating.set_mode(Fleet.objects.get(), Mode.PAUSED, by="ann")
        stage.run(minutes=5, every=30)
        assert now_there(stage) == 0
        stage.fleet.refresh_from_db()
        measuring.begin(stage.fleet, 10**6, minutes=60, by="ann")
        stage.run(minutes=4)
        assert now_there(stage) == 1
        operating.set_mode(Fleet.objects.get(), Mode.RUNNING, by="ann")
        stage.run(minutes=2)
        assert now_there(stage) > 1


def test_a_fleet_that_runs_goes_on_with_its_own_settings(redis_url: str) -> None:
    with staged(redis_url, mode="running", min_instances=0, goal="budget", budget_usd=50) as stage:
        measuring.begin(stage.fleet, 200, minutes=60, by="ann")
        stage.run(minutes=3)
        while not SampleRun.objects.get().finished_at:
            assert now_there(stage) == 1
            stage.step()
        stage.run(minutes=2)
        assert now_there(stage) > 1
        assert not Pod.objects.filter(retire_rule=PodRule.SAMPLE).exists()


def test_no_limit_on_money_is_lifted(redis_url: str) -> None:
    with staged(redis_url, max_hourly_usd="0.0001") as stage:
        measuring.begin(stage.fleet, 200, minutes=10, by="ann")
        stage.run(minutes=12, every=30)
        assert not Pod.objects.exists()
        assert SampleRun.objects.get().finished_at is not None


def test_what_cannot_be_measured_is_refused_with_the_reason(redis_url: str) -> None:
    with staged(redis_url) as stage:
        fleet = stage.fleet
        for values, says in (
            ({"items": 0}, "give 1 to 10,000,000 items"),
            ({"items": 9, "minutes": 999}, "give 1 to 240"),
        ):
            with pytest.raises(NoSample, match=says):
                measuring.begin(fleet, **values, by="ann")
        stage.redis.delete(fleet.stream)
        with pytest.raises(NoSample, match="the backlog is"):
            measuring.begin(fleet, 9, by="ann")
        a_pod(fleet)
        with pytest.raises(NoSample, match="1 pod may still bill"):
            measuring.begin(fleet, 9, by="ann")
        Fleet.objects.update(mode="stop_all")
        fleet.refresh_from_db()
        with pytest.raises(NoSample, match="the fleet is stopped; pause it first"):
            measuring.begin(fleet, 9, by="ann")


def test_the_command_measures_and_then_quotes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(redis_url) as stage:
        monkeypatch.setattr(samples, "_pause", stage.step)
        text = " ".join(run("quote", "emb", "--sample", 300).split())
        assert "One pod works on about 300 items" in text
        assert "at most about $" in text
        assert "5,000 items, goal demand" in text
        assert "items measured: 1×" in text
        told = json.loads(run("quote", "emb", "--items", 7, "--sample", 300, "--json"))
        assert told["sample"]["made"] is False
        assert told["sample"]["speeds"][0]["items_per_second"] == pytest.approx(2, rel=0.2)
        stage.run(minutes=5, every=30)
        assert "No sample is needed" in run("quote", "emb", "--items", 7, "--sample", 300)
        assert now_there(stage) == 0


def burst(stage: Stage, *, items: int, seconds: int) -> None:
    """Its pods do so many items in so many seconds, and then have nothing to do."""

    def work(pod: Pod) -> None:
        up = 1000 * int((clock.utcnow() - (pod.ready_at or clock.utcnow())).total_seconds())
        said = {"done": items, "rate": items / 30, "held_ms": 1000 * seconds} if up else {}
        stage.beat(pod, uptime_ms=up + 1, **said)

    stage.behave = work


def test_the_speed_is_that_of_the_time_with_work_in_hand(redis_url: str) -> None:
    """A pod that waits for most of its life is not called slow, whatever its last half minute was."""
    with staged(redis_url) as stage:
        burst(stage, items=1480, seconds=40)
        measuring.begin(stage.fleet, 1000, minutes=20, by="ann")
        stage.run(minutes=8, every=30)
        [speed] = measuring.speeds(stage.fleet, clock.utcnow())
        assert speed.items_per_second == pytest.approx(37)
        assert Pod.objects.get().held_ms == 40_000


def test_a_sample_that_is_too_short_says_how_many_items_to_take(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(redis_url) as stage:
        burst(stage, items=413, seconds=11)
        monkeypatch.setattr(samples, "_pause", stage.step)
        with pytest.raises(CommandError) as refused:
            run("quote", "emb", "--sample", 500)
        said = str(refused.value)
        assert "its pod had work for 11 s, and 30 s are needed; take --sample" in said
        assert 2000 < int(said.partition("--sample ")[2].split()[0]) < 6000
        assert "stopped at 413 of 500, because the next tick would pass 500" in said
        assert measuring.speeds(stage.fleet, clock.utcnow()) == []


def test_ctrl_c_ends_the_sample(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with staged(redis_url) as stage:
        monkeypatch.setattr(samples, "_pause", interrupted)
        with pytest.raises(CommandError, match="the sample is ended"):
            run("quote", "emb", "--sample", 300)
        stage.run(minutes=2)
        assert not Pod.objects.exists()


def test_without_a_tick_the_command_says_what_is_missing(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(redis_url) as stage:
        monkeypatch.setattr(samples, "_pause", lambda: stage.clock.advance(300))
        with pytest.raises(CommandError, match="no tick came; do beat and a worker run"):
            run("quote", "emb", "--sample", 300)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--again"], "belong to --sample N"),
        (["--sample", "9", "--items-per-second", "2"], "not both"),
        (["--sample", "9", "--receipt", "x"], "not both"),
        (["--sample", "many"], "invalid int value"),
    ],
)
def test_bad_words_are_refused(redis_url: str, words: list[str], says: str) -> None:
    a_fleet(name="emb")
    items = [] if "--receipt" in words else ["--items", 7]
    with pytest.raises(CommandError, match=says):
        run("quote", "emb", *items, *words)
