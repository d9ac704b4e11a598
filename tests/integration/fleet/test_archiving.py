"""A fleet can be archived, brought back and deleted, and no pod bills unseen meanwhile."""

import json
import shlex
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django_celery_beat.models import PeriodicTask

from fleet import archiving, operating
from fleet.alerts import reconciling
from fleet.decision.alert_facts import Cause
from fleet.decision.fleet_health import Health
from fleet.decision.values import Mode
from fleet.models import Alert, Batch, Fleet, Limits, Sample, Tick
from fleet.money import ledger
from fleet.pages import overview
from fleet.tick import archiving as tick_archiving
from fleet.tick import policies, ticking
from pods import lifecycle
from pods.agent.protocol import Keys
from pods.base import clock
from pods.base.redis import redis_client
from pods.emulators.base import SteppedClock
from pods.lifecycle import Overtaken
from pods.models import Account, Pod, PodEvent
from pods.states import LOST, READY, STOPPED
from tests.support.factories import NOON, OFFER, a_fleet, a_pod, an_account, an_alert
from tests.support.fleet_command import run
from tests.support.items import add_items
from tests.support.world import World

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def fleet(redis_url: str, time: SteppedClock) -> Fleet:
    account = an_account(offers=[OFFER], surveyed_at=NOON)
    made = a_fleet(name="emb", accounts=[account], max_instances=3, target_depth_per_pod=10)
    operating.make_group(made)
    return made


def end(pod: Pod) -> None:
    pod.refresh_from_db()
    lifecycle.move(pod, LOST, by="test", because="gone")


def again(fleet: Fleet) -> Fleet:
    return Fleet.objects.select_related("schedule").get(pk=fleet.pk)


def test_an_archived_fleet_is_hidden_and_nothing_ticks_it(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 100)
    assert archiving.archive(fleet, by="ann")
    fleet = again(fleet)
    assert fleet.schedule is not None
    assert (fleet.mode, fleet.schedule.enabled) == ("paused", False)
    assert fleet.history.latest().history_change_reason == "archived by ann"
    assert ticking.tick_fleet(fleet.pk) is None  # a task that was under way
    assert not Tick.objects.exists()
    assert overview.overview().cards == []
    assert json.loads(run("list", "--json")) == []
    [shown] = json.loads(run("list", "--all", "--json"))
    assert (shown["name"], shown["archived_at"] is not None) == ("emb", True)


@pytest.mark.parametrize("state", [READY, STOPPED])
def test_a_fleet_with_a_pod_that_may_bill_is_not_archived(fleet: Fleet, state: Any) -> None:
    a_pod(fleet, state)
    with pytest.raises(ValidationError, match=f"1 pod that may bill .1 {state.value}"):
        archiving.archive(fleet, by="ann")
    assert again(fleet).archived_at is None


def test_when_empty_pauses_the_fleet_and_the_tick_after_its_last_pod_archives_it(
    fleet: Fleet, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY)
    assert not archiving.archive(fleet, when_empty=True, by="ann")
    assert (again(fleet).mode, again(fleet).archived_at) == ("paused", None)
    ticking.tick_fleet(fleet.pk)
    assert again(fleet).archived_at is None
    end(pod)
    ticking.tick_fleet(fleet.pk)
    assert again(fleet).archived_at is not None
    task = PeriodicTask.objects.get(name="tick emb")
    assert not task.enabled


def test_a_fleet_that_leaves_keeps_no_idle_and_no_stopped_pod(fleet: Fleet) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(min_instances=1, idle_action="stop")
    fleet.overrides.create(pods=3, until=NOON + timedelta(days=1), by="ann", because="a test")
    stopped = a_pod(fleet, STOPPED)
    archiving.archive(again(fleet), when_empty=True, by="ann")
    ticking.tick_fleet(fleet.pk)
    stopped.refresh_from_db()
    assert stopped.state == "terminating"
    policy = policies.policy_of(again(fleet), Limits.get(), NOON)
    assert (policy.min_instances, policy.idle_stops, policy.override) == (0, False, None)


def test_a_fleet_that_runs_again_is_not_archived(fleet: Fleet) -> None:
    pod = a_pod(fleet, READY)
    archiving.archive(fleet, when_empty=True, by="ann")
    operating.set_mode(again(fleet), Mode.RUNNING, by="ann")
    end(pod)
    ticking.tick_fleet(fleet.pk)
    assert (again(fleet).archived_at, again(fleet).archive_when_empty) == (None, False)


def test_a_pod_that_appears_meanwhile_keeps_the_fleet(fleet: Fleet) -> None:
    stale = again(fleet)
    operating.edit(again(fleet), {"max_instances": 2}, by="ann")
    with pytest.raises(Overtaken):
        tick_archiving.archive_if_empty(stale, by="bob")
    assert again(fleet).archived_at is None


def test_a_tick_that_was_slow_starts_no_pod_in_an_archived_fleet(
    fleet: Fleet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_items(redis_url, 100)
    decide = ticking.decide

    def slow(*args: Any) -> Any:
        archiving.archive(again(fleet), by="ann")
        return decide(*args)

    monkeypatch.setattr(ticking, "decide", slow)
    assert ticking.tick_fleet(fleet.pk) is None
    assert not Pod.objects.exists()


def test_the_money_of_an_archived_fleet_stays_in_every_total(
    fleet: Fleet, time: SteppedClock
) -> None:
    Limits.objects.update_or_create(pk=1, defaults={"daily_budget_usd": Decimal(4)})
    pod = a_pod(fleet, READY, hourly_usd=Decimal(2))
    time.advance(HOUR)
    end(pod)
    archiving.archive(again(fleet), by="ann")
    assert overview.overview().spent_today_usd == 2
    assert sum(c.usd for c in ledger.day_costs(NOON.date(), NOON.date())) == 2
    reconciling.reconcile_alerts()
    assert Alert.objects.open().get().cause == Cause.BUDGET_50


def test_its_alerts_end(fleet: Fleet) -> None:
    alert = an_alert(fleet, cause="no_tick", subject=f"fleet:{fleet.pk}")
    archiving.archive(fleet, by="ann")
    reconciling.reconcile_alerts()
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_an_archived_fleet_cannot_be_used_until_it_is_restored(fleet: Fleet) -> None:
    archiving.archive(fleet, by="ann")
    for words in (
        ["resume", "emb"],
        ["set", "emb", "--max-instances", "2"],
        ["enqueue", "emb", "x"],
    ):
        with pytest.raises(CommandError, match=r"was archived on .*fleet restore emb"):
            run(*words)
    run("restore", "emb")
    fleet = again(fleet)
    assert fleet.schedule is not None
    assert (fleet.mode, fleet.archived_at, fleet.schedule.enabled) == ("paused", None, True)
    run("resume", "emb")
    assert ticking.tick_fleet(fleet.pk) is not None


def test_a_fleet_that_comes_back_is_silent_only_since_then(
    fleet: Fleet, time: SteppedClock
) -> None:
    Fleet.objects.update(created_at=NOON)
    ticking.tick_fleet(fleet.pk)
    archiving.archive(again(fleet), by="ann")
    time.advance(30 * 24 * HOUR)
    archiving.restore(again(fleet), by="ann")
    reconciling.reconcile_alerts()
    assert not Alert.objects.filter(cause=Cause.NO_TICK.value).exists()
    [card] = overview.overview().cards
    assert card.health.health is Health.PAUSED
    time.advance(60)
    reconciling.reconcile_alerts()
    assert Alert.objects.filter(cause=Cause.NO_TICK.value).exists()


def test_the_name_of_an_archived_fleet_can_be_used_again(fleet: Fleet) -> None:
    run("archive", "emb")
    with pytest.raises(CommandError, match="another fleet has this name, perhaps an archived one"):
        run("create", "emb", "--handler", "a:b")
    with pytest.raises(CommandError, match="name: use 1 to 40 of the characters"):
        run("archive", "emb", "--as", "Not A Name")
    run("archive", "emb", "--as", "emb-2026")
    run("create", "emb", "--handler", "a:b")  # the stream is free too
    assert PeriodicTask.objects.get(name="tick emb").enabled
    with pytest.raises(CommandError, match="the fleet emb drains the stream"):
        run("restore", "emb-2026")
    with pytest.raises(CommandError, match="another fleet has this name"):
        run("archive", "emb-2026", "--as", "emb")
    assert Fleet.objects.get(pk=fleet.pk).name == "emb-2026"


def test_what_fits_into_the_gpus_is_forgotten_with_the_name(
    fleet: Fleet, redis_url: str, django_capture_on_commit_callbacks: Any
) -> None:
    client = redis_client(redis_url)
    other = Keys("other").fits
    client.hset(other, "f", "8 0.0 1")
    client.hset(Keys("emb").fits, "f", "8 0.0 1")
    with django_capture_on_commit_callbacks(execute=True):
        archiving.archive(fleet, name="old", by="ann")
    assert not client.exists(Keys("emb").fits)
    client.hset(Keys("old").fits, "f", "8 0.0 1")
    fleet = again(fleet)
    with django_capture_on_commit_callbacks(execute=True):
        archiving.restore(fleet, name="new", by="ann")
    assert not client.exists(Keys("old").fits)
    assert client.exists(other)


def test_a_machine_of_an_archived_fleet_is_ended_and_not_adopted(world: World) -> None:
    Account.objects.update(orphans="adopt")
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    pod = Pod.objects.get()
    end(pod)
    world.rig.state.pods.clear()
    archiving.archive(Fleet.objects.get(pk=pod.fleet_id), by="ann")
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().destroyed == [orphan.id]
    found = Pod.objects.get(external_id=orphan.id)
    assert found.state == "terminating"
    [card] = overview.overview().cards  # it is shown as long as the machine may bill
    assert card.archived


def test_a_fleet_that_cost_nothing_is_deleted_with_all_its_rows(
    fleet: Fleet, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY, hourly_usd=Decimal(0))
    ticking.tick_fleet(fleet.pk)
    an_alert(fleet)
    time.advance(HOUR)
    end(pod)
    with pytest.raises(CommandError, match="is in use; archive it first"):
        run("delete", "emb", "--yes")
    run("archive", "emb")
    with pytest.raises(CommandError, match="add --yes"):
        run("delete", "emb")
    assert Fleet.objects.exists()
    assert "deleted" in run("delete", "emb", "--yes")
    for model in (Fleet, Pod, PodEvent, Tick, Sample, Alert):
        assert not model._default_manager.exists(), model
    assert not PeriodicTask.objects.filter(task="fleet.tick").exists()
    assert Fleet.history.first().history_change_reason.startswith("deleted by ")


def test_a_fleet_that_cost_money_is_kept_and_the_answer_says_what_is_possible(
    fleet: Fleet, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY, hourly_usd=Decimal(2))
    time.advance(HOUR)
    end(pod)
    run("archive", "emb")
    with pytest.raises(CommandError, match=r"cost \$2\.00 in all.*fleet archive emb --as NEW-NAME"):
        run("delete", "emb", "--yes")
    assert Pod.objects.filter(pk=pod.pk).exists()


def test_the_answer_says_what_is_left_in_redis_and_how_to_remove_it(
    fleet: Fleet, redis_url: str
) -> None:
    client = redis_client(redis_url)
    answer = run("archive", "emb")
    words = shlex.split(answer.partition("to remove them: ")[2])
    assert words[0] == "manage.py"
    call_command(*words[1:])
    assert client.keys("embedding_tasks*") == []
    assert redis_url not in answer


def test_what_is_left_on_a_server_of_its_own_is_named_without_the_password(redis_url: str) -> None:
    own = redis_url.replace("://", "://default:hunter7@")
    answer = archiving.left_in_redis(Fleet(name="emb", stream="tasks", backlog_url=own))
    assert "hunter7" not in answer
    words = shlex.split(answer.partition("to remove them: ")[2])
    assert words[:2] == ["redis-cli", "-u"]
    assert words[3:7] == ["DEL", "tasks", "tasks:results", "tasks:dead"]


def test_the_answer_says_what_nobody_works_on_any_more(fleet: Fleet, redis_url: str) -> None:
    add_items(redis_url, 41)
    ticking.tick_fleet(fleet.pk)
    Pod.objects.all().delete()
    now = clock.utcnow()
    Batch.objects.create(
        fleet=fleet,
        status="in_progress",
        endpoint="/v1/embeddings",
        created_at=now,
        expires_at=now,
        files_kept_seconds=1,
        claimed_until=now,
    )
    answer = run("archive", "emb")
    assert "archived with 41 items and 1 batch unfinished, on which no pod works now" in answer
    assert "`fleet restore emb` brings it back" in answer


def test_a_watch_writes_lines_where_no_terminal_is(fleet: Fleet, redis_url: str) -> None:
    [line] = run("watch", "emb", "--until-empty").splitlines()
    assert line.startswith("2026-11-23 12:00:00 UTC  emb  Starting: the first decision comes")
    assert "backlog 0" in line
