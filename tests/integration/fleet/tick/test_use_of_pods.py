"""What pods say about their use: in a tick's facts and rows, on the pods, and in what starts."""

import re
from io import StringIO
from typing import Any

import pytest
import redis
from rich.console import Console

from fleet import operating
from fleet.models import Fleet, Sample, Tick
from fleet.pages import terminal
from fleet.pages.status import status_of
from fleet.tick import gathering, measures, requesting, ticking
from pods import health
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import clock
from pods.bottleneck import Bottleneck
from pods.emulators.base import SteppedClock
from pods.machine_names import short_name
from pods.models import Pod
from pods.states import READY
from tests.support.factories import OFFER, a_fleet, a_pod, an_account, hours, seconds
from tests.support.items import add_items

pytestmark = pytest.mark.django_db
WAITS = {"busy": 0.22, "starved": 0.08, "link": 0.7, "starting": 0.0}
MINUTE_MS = 60_000


@pytest.fixture
def fleet(redis_url: str, time: SteppedClock) -> Fleet:
    account = an_account(offers=[OFFER], offers_until=time() + hours(9))
    made: Fleet = a_fleet(accounts=[account], name="emb", max_instances=5, target_depth_per_pod=10)
    operating.make_group(made)
    Fleet.objects.update(proven_template=requesting.template_hash(made))
    add_items(redis_url, 100)
    return made


@pytest.fixture
def pod(fleet: Fleet, time: SteppedClock) -> Pod:
    made = a_pod(fleet, READY)
    time.advance(60)
    return made


def beat(redis_url: str, pod: Pod, *, ago: float = 0, **said: Any) -> None:
    client = redis.Redis.from_url(redis_url, protocol=2)
    server_seconds, micros = client.time()
    fields = Heartbeat(state=AgentState.WORKING, **{"uptime_ms": MINUTE_MS, **said}).fields()
    at_ms = server_seconds * 1000 + micros // 1000 - int(ago * 1000)
    client.hset(connecting.keys(pod).pod(pod.name), mapping={**fields, "at_ms": str(at_ms)})


def facts(fleet: Fleet) -> Any:
    [found] = gathering.gather(Fleet.objects.get(pk=fleet.pk), clock.utcnow()).seen.pods
    return found


def tick(fleet: Fleet) -> Tick:
    assert ticking.tick_fleet(fleet.pk) is not None
    return Tick.objects.filter(fleet=fleet).latest("pk")


def test_a_tick_reads_where_the_time_of_a_pod_goes(fleet: Fleet, pod: Pod, redis_url: str) -> None:
    beat(redis_url, pod, **WAITS, rtt_ms=180.0, batch=64, gpu_percent=31)
    found = facts(fleet)
    assert (found.busy, found.bottleneck, found.rtt) == (0.22, Bottleneck.LINK, seconds(0.18))
    assert (found.batch, found.gpu_percent) == (64, 31)


@pytest.mark.parametrize("silent", [{"ago": 31}, {"uptime_ms": 29_999}, {"busy": None}])
def test_a_window_that_is_old_or_not_whole_says_nothing(
    fleet: Fleet, pod: Pod, redis_url: str, silent: dict[str, Any]
) -> None:
    beat(redis_url, pod, **{**WAITS, **silent})
    found = facts(fleet)
    assert (found.busy, found.bottleneck) == (None, Bottleneck.UNKNOWN)


def test_a_pod_that_waits_while_no_item_does_is_idle(
    fleet: Fleet, pod: Pod, redis_url: str
) -> None:
    beat(redis_url, pod, **WAITS)
    redis.Redis.from_url(redis_url, protocol=2).xtrim(fleet.stream, maxlen=0)
    assert facts(fleet).bottleneck is Bottleneck.IDLE


def test_no_pod_starts_beside_one_that_waits_and_the_rows_say_why(
    fleet: Fleet, pod: Pod, redis_url: str, time: SteppedClock
) -> None:
    Tick.objects.create(
        fleet=fleet, at=time() - seconds(30), token=0, depth=100, active=1, desired=5, target=1
    )
    beat(redis_url, pod, **WAITS, gpu_percent=31)
    decided = tick(fleet)
    assert (decided.spawned, decided.retired, decided.binding) == (0, 0, "min_busy_percent")
    assert (decided.busy_percent, decided.gpu_percent, decided.bottleneck) == (22, 31, "link")
    assert "1 pod is busy 22 % of the time: it waits for the link" in decided.sentence
    sample = Sample.objects.get()
    assert (sample.busy_percent, sample.gpu_percent) == (22, 31)
    assert Pod.objects.get(pk=pod.pk).bottleneck == "link"
    operating.edit(Fleet.objects.get(pk=fleet.pk), {"min_busy_percent": 0}, by="ann")
    assert tick(fleet).spawned == 1


def test_a_pod_that_says_nothing_of_its_time_holds_nothing_back(
    fleet: Fleet, pod: Pod, redis_url: str, time: SteppedClock
) -> None:
    Tick.objects.create(
        fleet=fleet, at=time() - seconds(30), token=0, depth=100, active=1, desired=5, target=1
    )
    Pod.objects.update(bottleneck="link")
    beat(redis_url, pod, done=5)
    decided = tick(fleet)
    assert (decided.spawned, decided.busy_percent, decided.bottleneck) == (1, None, "")
    assert Pod.objects.get(pk=pod.pk).bottleneck == "unknown"


def test_what_holds_pods_back_is_written_in_one_statement_for_each_new_word(
    fleet: Fleet, redis_url: str, time: SteppedClock, django_assert_num_queries: Any
) -> None:
    for share in (0.22, 0.22, 0.95, 0.95):
        beat(redis_url, a_pod(fleet, READY), busy=share, starved=0.0, link=0.05, starting=0.0)
    gathered = gathering.gather(fleet, clock.utcnow())
    with django_assert_num_queries(2):
        measures.remember_bottlenecks(gathered.pods, gathered.seen.pods)
    assert sorted(Pod.objects.values_list("bottleneck", flat=True)) == [
        *("handler", "handler", "link", "link")
    ]
    gathered = gathering.gather(fleet, clock.utcnow())
    with django_assert_num_queries(0):
        measures.remember_bottlenecks(gathered.pods, gathered.seen.pods)


def test_a_sweep_stores_what_an_agent_measured(fleet: Fleet, pod: Pod, redis_url: str) -> None:
    beat(redis_url, pod, **WAITS, held_bytes=2**30, rtt_ms=180.5, cpu_percent=7)
    health.sweep_account(pod.account)
    stored = Pod.objects.get(pk=pod.pk)
    assert stored.measures == {**WAITS, "held_bytes": 2**30, "rtt_ms": 180.5, "cpu_percent": 7}
    beat(redis_url, pod)
    health.sweep_account(pod.account)
    assert Pod.objects.get(pk=pod.pk).measures == {}


def test_show_and_watch_say_how_much_each_pod_works(fleet: Fleet, pod: Pod, redis_url: str) -> None:
    beat(redis_url, pod, **WAITS, rtt_ms=180.0, gpu_percent=31, done=123_456, rate=1_234.5)
    Pod.objects.update(note="backlog: the server is full", done=123_456)
    status = status_of(fleet)
    shown = Console(file=StringIO(), width=80)
    shown.print(terminal.render(status))
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "ready pods are busy 22 % of the time, held back by link" in text
    assert re.search(r"22 % +link", text)
    assert f"{short_name(pod.name, 8)}: backlog: the server is full" in text
    assert "…" not in text
    told = status.as_json()
    assert (told["busy_percent"], told["bottleneck"], told["gpu_percent"]) == (22, "link", 31)
    [one] = told["pods"]
    assert (one["busy_percent"], one["bottleneck"], one["rtt_ms"]) == (22, "link", 180)
    beat(redis_url, pod)
    shown.print(terminal.render(status_of(fleet)))
    assert status_of(fleet).as_json()["busy_percent"] is None
