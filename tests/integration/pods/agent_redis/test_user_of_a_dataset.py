"""The Redis user of a pod whose fleet works on a dataset."""

from collections.abc import Callable

import pytest
import redis

from pods.agent.dataset.backlog import RangeStream
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import Unit
from pods.agent_redis import redis_users
from pods.models import Pod
from tests.support.dataset_files import cut
from tests.support.rigs.agent_rig import Agents, Backlog
from tests.support.rigs.dataset_rig import Dataset, texts
from tests.support.waiting import patience, until
from tests.support.world import Start, World

pytestmark = pytest.mark.django_db
STREAM = "embedding_tasks"


def of_a_dataset(world: World, **settings: object) -> Pod:
    pod = world.booted()
    handler = "tests.support.agents.dataset_handlers:slow"
    agent = {**pod.agent, "kind": DATASET, "handler": handler, **settings}
    Pod.objects.filter(pk=pod.pk).update(agent=agent)
    pod.refresh_from_db()
    return pod


def test_an_agent_of_a_dataset_does_all_its_work_with_its_own_user(
    world: World, start: Start, redis_url: str, tmp_path
) -> None:
    backlog = Backlog(redis_url, group=False)
    backlog.stream, backlog.results_stream = STREAM, f"{STREAM}:results"
    dataset = Dataset.in_folder(backlog, Agents(), tmp_path)
    world.redis.xgroup_create(STREAM, STREAM, "0", mkstream=True)
    of = dataset.texts(texts(400))
    gone = dataset.texts(texts(10), name="gone.parquet")
    dataset.input.at("gone.parquet").delete()
    dataset.feed(gone, *cut(of, 50, 100))
    pod = of_a_dataset(world, max_deliveries=1)
    world.redis.execute_command("ACL", "LOG", "RESET")
    agent = start(pod, redis_users.pod_address(pod))
    until(lambda: world.redis.xlen(f"{STREAM}:results") >= 1)
    agent.terminate()
    assert agent.wait(timeout=patience(30)) == 0
    letters = world.redis.xrange(f"{STREAM}:dead")
    assert [fields[b"id"] for _, fields in letters] == [gone.id.encode()]
    assert sum(receipt.rows for receipt in dataset.receipts()) < 400
    refusals = world.redis.execute_command("ACL", "LOG")
    assert [entry for entry in refusals if pod.name.encode() in entry] == []


def test_an_agent_of_a_dataset_may_divide_and_share(world: World, redis_url: str, tmp_path) -> None:
    backlog = Backlog(redis_url, group=False)
    backlog.stream = STREAM
    dataset = Dataset.in_folder(backlog, Agents(), tmp_path)
    world.redis.xgroup_create(STREAM, STREAM, "0", mkstream=True)
    of = dataset.texts(texts(10))
    [entry] = dataset.feed(of)
    pod = of_a_dataset(world)
    told = AgentSettings(redis_url=redis_users.pod_address(pod), pod=pod.name, **pod.agent)
    stream = RangeStream(told)
    assert stream.idle_agents() == 0
    stream.read(1, 10_000)
    assert not stream.is_finished(entry)
    assert stream.divide(entry, of.halves(Unit.ROWS), 0, 100) == 1
    assert stream.is_finished(entry)
    assert stream.divide(entry, of.halves(Unit.ROWS), 0, 100) == 0  # its answer was lost
    pieces, _ = stream.read(5, 10_000)
    assert [piece.fields[b"divided"] for piece in pieces] == [b"1", b"1"]
    assert stream.divide(pieces[0].id, (), 0, 1) == -1


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda pod: pod.delete("podfleet:embed:rows"),
        lambda pod: pod.expire("podfleet:embed:rows", 1),
        lambda pod: pod.xrevrange(STREAM),
    ],
)
def test_a_pod_of_items_may_not_touch_rows(
    world: World, forbidden: Callable[[redis.Redis], object]
) -> None:
    pod = world.booted()
    theirs = redis.Redis.from_url(redis_users.pod_address(pod), protocol=2)
    with pytest.raises(redis.exceptions.NoPermissionError):
        forbidden(theirs)
    assert not any("rows" in rule for rule in redis_users.rules(pod))
    assert any("rows" in rule for rule in redis_users.rules(of_a_dataset(world)))
