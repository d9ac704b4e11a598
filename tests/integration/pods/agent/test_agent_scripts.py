"""Each script by itself: it is atomic where it must be, and touches nothing else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from pods.agent.holding import Holding
from pods.agent.protocol import RELEASED_CONSUMER, AgentSettings
from pods.agent.stream import Entry, Failure, Fenced, ItemResult, Stream

MUCH = 10_000_000


@pytest.fixture
def stream_of(backlog):
    def stream(pod, **changes):
        return Stream(
            AgentSettings(
                redis_url=backlog.url,
                fleet="test",
                pod=pod,
                stream="tasks",
                group="workers",
                handler="m:f",
                **changes,
            )
        )

    return stream


def result(entry, value=b"r", target="tasks:results"):
    return ItemResult(entry, entry.encode(), target, value)


def deliveries(backlog):
    found = backlog.client.xpending_range("tasks", "workers", "-", "+", 100)
    return {p["message_id"].decode(): p["times_delivered"] for p in found}


def test_a_fenced_pod_writes_no_heartbeat(backlog, stream_of):
    keys = backlog.keys
    said = [keys.pod("a"), keys.command("a"), keys.lease, keys.fence("a")]
    backlog.client.set(keys.fence("a"), "1")
    *_, fenced, _ = stream_of("a")._run("heartbeat", said, [60_000, "state", "working"])
    assert fenced == 1
    assert not backlog.client.exists(keys.pod("a"))


@pytest.mark.fault(61)
def test_a_commit_that_is_repeated_publishes_once(backlog, stream_of):
    entries = backlog.put_numbered(3)
    pod = stream_of("a")
    pod.read(10, 10_000)
    first, again = (pod.commit([result(e) for e in entries]) for _ in range(2))
    assert (first.done, first.duplicates) == (3, 0)
    assert (again.done, again.duplicates) == (0, 3)
    backlog.assert_each_has_one_result(entries)


def test_the_commit_of_an_item_that_another_finished_publishes_nothing(backlog, stream_of):
    [entry] = backlog.put(b"x")
    late, quick = stream_of("a"), stream_of("b", claim_idle_seconds=0)
    late.read(1, 100)
    assert [e.id for e in quick.claim(10, MUCH, "0-0")[0]] == [entry]
    quick.commit([result(entry, b"quick")])
    assert late.commit([result(entry, b"late")]).duplicates == 1
    assert backlog.results() == {entry: b"quick"}


def test_a_fenced_pod_changes_no_stream_by_any_script(backlog, stream_of):
    entries = backlog.put_numbered(4)
    pod = stream_of("a")
    pod.read(2, 10_000)
    backlog.client.set(backlog.keys.fence("a"), "1")
    state = (deliveries(backlog), backlog.client.xinfo_groups("tasks"))
    for attempt in (
        lambda: pod.read(10, 10_000),
        lambda: pod.claim(10, MUCH, "0-0"),
        lambda: pod.recover(10, MUCH, ""),
        lambda: pod.take_again(entries),
        lambda: pod.begin([Entry(e, {}, 2, counted=False) for e in entries]),
        lambda: pod.commit([result(e) for e in entries]),
        lambda: pod.fail([Failure(entries[0], "e", final=True)]),
        lambda: pod.keep(entries),
        lambda: pod.release([(e, True) for e in entries]),
        pod.leave,
    ):
        with pytest.raises(Fenced):
            attempt()
    assert (deliveries(backlog), backlog.client.xinfo_groups("tasks")) == state
    assert backlog.client.keys("tasks:*") == []


def test_no_target_that_cannot_be_written_swallows_an_acknowledged_item(backlog, stream_of):
    good, bad = backlog.put(b"good", b"bad")
    backlog.client.set("tasks:results:bad", "a string")
    pod = stream_of("a")
    pod.read(10, 10_000)
    done = pod.commit([result(bad, target="tasks:results:bad"), result(good)])
    assert (done.done, [f.entry for f in done.refused]) == (1, [bad])
    assert set(backlog.results()) == {good}
    assert set(deliveries(backlog)) == {bad}


def test_a_pod_whose_user_may_not_write_the_target_acknowledges_nothing(backlog, stream_of):
    [entry] = backlog.put(b"x")
    stream_of("a").read(1, 100)
    backlog.client.execute_command(
        "ACL",
        "SETUSER",
        "pod-a",
        "on",
        ">pw",
        "+@all",
        "~tasks",
        "~tasks:results",
        "~podfleet:test:*",
    )
    limited = stream_of("a")
    limited._client.connection_pool.connection_kwargs.update(username="pod-a", password="pw")
    refused = limited.commit([result(entry, target="tasks:results:other")]).refused
    assert "may not write" in refused[0].error
    assert set(deliveries(backlog)) == {entry}
    assert limited.commit([result(entry)]).done == 1
    backlog.client.execute_command("ACL", "DELUSER", "pod-a")


def test_a_broken_result_stream_of_the_fleet_is_an_error_and_buries_nothing(backlog, stream_of):
    [entry] = backlog.put(b"x")
    backlog.client.set("tasks:results", "a string")
    pod = stream_of("a")
    pod.read(1, 100)
    with pytest.raises(redis.ResponseError, match="tasks:results is a string"):
        pod.commit([result(entry)])
    assert deliveries(backlog) == {entry: 1}


def test_results_are_trimmed_to_about_the_wanted_length(backlog, stream_of):
    entries = backlog.put_numbered(500)
    pod = stream_of("a", longest_results=100)
    pod.read(500, 1_000_000)
    pod.commit([result(e) for e in entries])
    assert 100 <= backlog.client.xlen("tasks:results") < 300


def test_a_read_stops_at_its_bytes(backlog, stream_of):
    backlog.put(*[b"x" * 100_000] * 64)
    entries, _ = stream_of("a").read(64, 1_000_000)
    assert 10 <= len(entries) <= 20


def test_keeping_an_item_is_not_a_delivery_and_resets_its_idle_time(backlog, stream_of):
    [entry] = backlog.put(b"x")
    keeper, thief = stream_of("a"), stream_of("b", claim_idle_seconds=3600)
    keeper.read(1, 100)
    backlog.make_old("a", [entry])
    assert keeper.keep([entry]) == []
    assert thief.claim(10, MUCH, "0-0")[0] == []
    assert deliveries(backlog) == {entry: 1}


def test_keeping_never_takes_back_what_another_has_claimed(backlog, stream_of):
    [entry] = backlog.put(b"x")
    slow, quick = stream_of("a"), stream_of("b", claim_idle_seconds=0)
    slow.read(1, 100)
    quick.claim(10, MUCH, "0-0")
    assert slow.keep([entry]) == [entry]
    assert backlog.pending_of("b") == 1


def test_an_item_that_is_given_back_untried_loses_no_delivery(backlog, stream_of):
    tried, untried = backlog.put(b"x", b"y")
    leaving, other = stream_of("a"), stream_of("b", claim_idle_seconds=3600)
    leaving.read(2, 100)
    assert leaving.release([(tried, True), (untried, False)]) == 2
    assert deliveries(backlog) == {tried: 1, untried: 0}
    assert backlog.pending_of(RELEASED_CONSUMER) == 2
    taken, _ = other.claim(10, MUCH, "0-0")
    assert {e.id: e.deliveries for e in taken} == {tried: 2, untried: 1}


def test_an_item_of_a_killed_agent_is_given_back_untried_any_number_of_times(backlog, stream_of):
    [entry] = backlog.put(b"x")
    stream_of("killed").read(1, 100)
    backlog.make_old("killed", [entry])
    for number in range(7):
        preempted, holding = stream_of(f"pod-{number}"), Holding(1)
        assert holding.add(preempted.claim(10, MUCH, "0-0")[0]) == 1
        assert preempted.release(holding.all()) == 1
    assert deliveries(backlog) == {entry: 1}
    assert backlog.dead() == []


def test_a_take_is_not_a_try_and_a_try_counts_before_it_begins(backlog, stream_of):
    [entry] = backlog.put(b"x")
    stream_of("killed").read(1, 100)
    for number in range(9):
        backlog.make_old("killed" if not number else f"pod-{number - 1}", [entry])
        [taken], _ = stream_of(f"pod-{number}").claim(10, MUCH, "0-0")
    [recovered], _ = stream_of("pod-8").recover(10, MUCH, "")
    assert taken.deliveries == recovered.deliveries == 2
    assert deliveries(backlog) == {entry: 1}
    pod = stream_of("pod-8")
    for _ in range(2):  # also if the first answer was lost
        assert pod.begin([taken]) == []
    assert deliveries(backlog) == {entry: 2}


def test_the_try_of_an_item_of_another_agent_does_not_begin(backlog, stream_of):
    mine, other = backlog.put(b"x", b"y")
    stream_of("pod-a").read(2, 100)
    quick = stream_of("pod-b", claim_idle_seconds=0)
    taken = quick.claim(2, MUCH, "0-0")[0]
    backlog.client.xclaim("tasks", "workers", "pod-c", 0, [other], justid=True)
    assert quick.begin(taken) == [other]
    assert deliveries(backlog) == {mine: 2, other: 1}


def test_a_try_of_an_item_that_was_trimmed_in_hand_begins_and_it_stays_pending(backlog, stream_of):
    [entry] = backlog.put(b"x")
    stream_of("pod-a").read(1, 100)
    pod = stream_of("pod-b", claim_idle_seconds=0)
    taken = pod.claim(1, MUCH, "0-0")[0]
    backlog.client.xtrim("tasks", maxlen=0, approximate=False)
    assert pod.begin(taken) == []
    assert pod.commit([result(entry)]).done == 1


def test_a_name_with_pending_items_is_not_removed(backlog, stream_of):
    [entry] = backlog.put(b"x")
    pod = stream_of("a")
    pod.read(1, 100)
    assert not pod.leave()
    pod.commit([result(entry)])
    assert pod.leave()
    assert backlog.consumers() == set()


def test_two_claimers_never_get_the_same_item(backlog, stream_of):
    entries = backlog.put_numbered(50)
    stream_of("ghost").read(50, 100_000)
    backlog.make_old("ghost", entries)
    pods = [stream_of(name, claim_idle_seconds=3600) for name in ("a", "b")]
    claimed = [e.id for pod in pods * 3 for e in pod.claim(20, MUCH, "0-0")[0]]
    assert sorted(claimed) == sorted(entries)


def test_a_failed_item_is_retried_until_its_deliveries_are_used_up(backlog, stream_of):
    [entry] = backlog.put(b"x", kind=b"k")
    pod = stream_of("a", max_deliveries=2)
    pod.read(1, 100)
    assert pod.fail([Failure(entry, "first")])[0].became == "retry"
    [again], _ = pod.take_again([entry])
    assert (again.deliveries, deliveries(backlog)) == (2, {entry: 1})
    assert pod.begin([again]) == []
    assert pod.fail([Failure(entry, "second", "trace")])[0].became == "dead"
    [letter] = backlog.dead()
    assert letter[b"kind"] == b"k"
    assert (letter[b"dead_error"], letter[b"dead_traceback"]) == (b"second", b"trace")
    assert backlog.pending() == 0
    assert pod.fail([Failure(entry, "again")])[0].became == "lost"


def test_a_dead_letter_stream_of_the_wrong_type_buries_nothing(backlog, stream_of):
    [entry] = backlog.put(b"x")
    backlog.client.set("tasks:dead", "a string")
    pod = stream_of("a")
    pod.read(1, 100)
    with pytest.raises(redis.ResponseError, match="dead-letter stream tasks:dead is a string"):
        pod.fail([Failure(entry, "e", final=True)])
    assert deliveries(backlog) == {entry: 1}


def test_an_item_with_thousands_of_fields_can_become_a_dead_letter(backlog, stream_of):
    fields = {f"f{n}": "v" for n in range(6000)}
    entry = backlog.client.xadd("tasks", fields).decode()
    pod = stream_of("a")
    pod.read(1, 1_000_000)
    assert pod.fail([Failure(entry, "e", final=True)])[0].became == "dead"
    assert backlog.dead()[0][b"dead_entry"] == entry.encode()


def test_threads_wait_for_one_another_where_the_address_allows_fewer_connections(backlog) -> None:
    entries = backlog.put_numbered(40)
    told = AgentSettings(
        redis_url=f"{backlog.url}?max_connections=2", fleet="test", pod="a", stream="tasks",
        group="workers", handler="m:f",
    )  # fmt: skip
    stream = Stream(told)
    with ThreadPoolExecutor(10) as threads:
        reads = list(threads.map(lambda _: stream.read(4, MUCH)[0], range(10)))
    assert sorted(e.id for read in reads for e in read) == sorted(entries)
