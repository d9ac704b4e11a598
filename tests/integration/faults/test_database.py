"""The database is lost, has another version in the middle of a verb, or is very large."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from benchmarks.tick import fill
from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import requesting, ticking
from pods import teardown
from pods.accounts import connecting
from pods.base import clock
from pods.models import Pod, PodEvent
from pods.rules import PodRule
from pods.states import READY
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.world import World, state

A_MILLION_EVENTS = """
INSERT INTO pods_podevent (pod_id, at, "by", "before", "after", because)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
SELECT %s, %s, 'test', '', '', 'x' FROM n
"""


@contextmanager
def database_gone(when: Callable[[str], bool]) -> Iterator[None]:
    """Fail every statement from the first one for which `when` is true, as after a failover."""
    gone: list[str] = []

    def execute(go_on: Any, sql: str, *args: Any) -> Any:
        if gone or when(sql):
            gone.append(sql)
            raise OperationalError("server closed the connection unexpectedly")
        return go_on(sql, *args)

    with connection.execute_wrapper(execute):
        yield
    assert gone, "no statement was of that kind"


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault(46)
def test_a_database_lost_right_after_the_create_does_not_lead_to_a_second_machine(
    world: World,
) -> None:
    pod = world.requested()
    with pytest.raises(OperationalError), database_gone(lambda _: bool(world.living())):
        world.spawn(pod)
    assert len(world.living()) == 1
    world.run(600, until=lambda: state(pod) == "booting")
    assert len(world.living()) == 1
    pod.refresh_from_db()
    assert [pod.external_id] == world.living()


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault(46)
def test_a_database_lost_right_after_the_destroy_still_gets_the_proof_of_the_end(
    world: World,
) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    with pytest.raises(OperationalError), database_gone(lambda _: not world.living()):
        world.work()
    assert state(pod) == "terminating"
    world.run(1800, until=lambda: state(pod) == "terminated")


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", ["INSERT", "UPDATE", "SELECT"])
def test_a_tick_that_loses_its_database_starts_nothing_and_the_next_tick_decides(
    redis_url: str, kind: str
) -> None:
    account = an_account(
        offers=[
            {"key": "local", "hourly_usd": "0.5", "stopped_hourly_usd": "0", "remaining": None}
        ],
        surveyed_at=clock.utcnow(),
    )
    fleet = a_fleet(accounts=[account], max_instances=2, target_depth_per_pod=1, stream="s")
    Fleet.objects.filter(pk=fleet.pk).update(proven_template=requesting.template_hash(fleet))
    operating.make_group(fleet)
    client = redis.Redis.from_url(redis_url, protocol=2)
    for n in range(9):
        client.xadd("s", {"payload": str(n)})
    with pytest.raises(OperationalError), database_gone(lambda sql: sql.startswith(kind)):
        ticking.tick_fleet(fleet.pk)
    assert Pod.objects.count() == Tick.objects.count() == 0
    later = clock.utcnow() + timedelta(minutes=5)
    with clock.use(lambda: later):
        ticking.tick_fleet(fleet.pk)
    assert fleet.pods.billable().count() == 1
    assert Tick.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault(52)
def test_a_migration_while_pods_run_keeps_them_and_old_code_can_still_write_rows() -> None:
    pod = a_pod(a_fleet(accounts=[an_account()]), READY)
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([("pods", "0004_console_url")])
        assert Pod.objects.filter(pk=pod.pk).values_list("state", flat=True).get() == "ready"
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    old = executor.loader.project_state([("pods", "0004_console_url")]).apps.get_model(
        "pods", "Pod"
    )
    values = old.objects.filter(pk=pod.pk).values().get()
    del values["id"]
    values.update(external_id="another", client_token="ab" * 16, name="another")
    old.objects.create(**values)
    assert sorted(Pod.objects.values_list("state", flat=True)) == ["ready", "ready"]
    assert Pod.objects.get(name="another").heard_since is None


@pytest.mark.django_db
@pytest.mark.fault(52)
def test_heartbeats_of_an_agent_of_another_version_count_and_unknown_fields_are_ignored(
    world: World,
) -> None:
    pod = world.booted()
    world.beat(pod, done=7)
    key = connecting.keys(pod).pod(pod.name)
    world.redis.hset(key, mapping={"version": "3", "a_field_of_tomorrow": "x"})
    world.sweep()
    pod.refresh_from_db()
    assert (pod.state, pod.done) == ("ready", 7)
    world.redis.hset(key, "state", "a state of tomorrow")
    world.listen(300)
    assert state(pod) == "ready"  # it sends heartbeats, whatever they contain
    world.redis.hset(key, "at_ms", 1)
    world.listen(120)
    assert state(pod) == "terminating"


@pytest.mark.django_db
@pytest.mark.fault(55)
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_tick_needs_no_more_queries_for_ten_thousand_pods_than_for_ten(redis_url: str) -> None:
    fleet = a_fleet(accounts=[an_account()], max_instances=20_000, target_depth_per_pod=1)
    operating.make_group(fleet)
    fill(fleet, 10_000)
    with connection.cursor() as cursor:
        cursor.execute(A_MILLION_EVENTS, [Pod.objects.order_by("pk")[0].pk, clock.utcnow()])
    assert PodEvent.objects.count() >= 1_000_000
    ticking.tick_fleet(fleet.pk)  # the first tick makes the fleet's lease
    began = time.monotonic()
    with CaptureQueriesContext(connection) as queries:
        assert ticking.tick_fleet(fleet.pk) is not None
    assert len(queries) <= 23
    assert time.monotonic() - began < 15  # below a tick's period, on a busy machine
