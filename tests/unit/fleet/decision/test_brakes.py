"""Pods that fail one after another: what counts, how long the next one waits, what is said."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.decision.brakes import FIRST_PAUSE, LONGEST_PAUSE, QUICK, Try, failing, pause_after
from fleet.decision.decide import decide
from fleet.decision.values import Failing, PodFacts, Policy, Snapshot
from pods.rules import TAKEN_RULES, TRY_RULES, PodRule
from pods.states import BOOTING, CREATING, READY, REQUESTED
from tests.support.examples import examples
from tests.support.factories import NOON, hours, pod_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots

MINUTE = timedelta(minutes=1)


def a_try(rule: PodRule | None = PodRule.AGENT_FAILED, **values: Any) -> Try:
    return Try(**{"worked": False, "rule": rule, "at": NOON, "because": "no module x", **values})


WORKS = a_try(None, worked=True)
UNDECIDED = a_try(PodRule.IDLE)
BROKEN = Failing(count=2, at=NOON - MINUTE, because="no module x", until=NOON + MINUTE)
tries = st.lists(
    st.builds(
        a_try,
        st.sampled_from([None, PodRule.IDLE, *sorted(TRY_RULES)]),
        worked=st.booleans(),
        interruptible=st.booleans(),
        beats=st.booleans(),
        at=st.sampled_from([NOON, NOON - MINUTE, NOON - hours(30)]),
        ready_at=st.sampled_from([None, NOON - hours(40), NOON - 2 * MINUTE]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("rule", sorted(TRY_RULES))
def test_a_pod_that_ends_before_its_first_item_has_failed(rule: PodRule) -> None:
    assert a_try(rule).failed
    assert a_try(rule, ready_at=NOON - seconds(5)).failed
    assert a_try(rule, ready_at=NOON - hours(3)).failed  # it took items and finished none
    assert a_try(rule, interruptible=True).failed == (rule not in TAKEN_RULES)


@pytest.mark.parametrize("rule", sorted(set(PodRule) - TRY_RULES))
def test_a_pod_that_somebody_ended_or_that_got_no_machine_has_not(rule: PodRule) -> None:
    assert not a_try(rule).failed


def test_a_pod_that_finished_items_has_failed_only_if_its_agent_gave_up_soon() -> None:
    worked: dict[str, Any] = {"worked": True, "ready_at": NOON - QUICK + seconds(1)}
    assert a_try(**worked).failed
    assert not a_try(PodRule.SILENT, **worked).failed
    assert not a_try(worked=True, ready_at=NOON - QUICK).failed
    resumed = a_try(PodRule.NEVER_BOOTED, worked=True, ready_at=NOON - hours(9))
    assert resumed.failed  # it worked before it was stopped, and never came back


def test_a_users_own_consumer_counts_no_items_so_only_a_quick_end_is_a_failure() -> None:
    silent: dict[str, Any] = {"rule": PodRule.SILENT, "beats": False}
    assert a_try(**silent, ready_at=NOON - seconds(60)).failed
    assert not a_try(**silent, ready_at=NOON - QUICK).failed


def test_failures_are_counted_since_the_newest_pod_that_works() -> None:
    assert failing([]) is None
    assert failing([WORKS, a_try()]) is None
    found = failing([a_try(), UNDECIDED, a_try(at=NOON - hours(1)), WORKS, a_try()])
    assert found == Failing(count=2, at=NOON, because="no module x", until=NOON + 2.5 * MINUTE)


def test_the_reason_is_what_most_pods_failed_of() -> None:
    gone = a_try(PodRule.ABSENT, at=NOON, because="it is gone")
    broken = [a_try(at=NOON - hours(n), because=f"no module {n}") for n in (2, 1)]
    found = failing([gone, *broken])
    assert found is not None
    assert (found.at, found.because) == (NOON, "2 of them: no module 1")
    tie = failing([gone, broken[0]])
    assert tie is not None
    assert tie.because == "1 of them: it is gone"
    unsaid = failing([gone, *[a_try(at=NOON - hours(1), because="")] * 2])
    assert unsaid is not None
    assert unsaid.because == ""


def test_an_operator_ends_the_pause_and_not_the_counting() -> None:
    both = [a_try(), a_try()]
    found = failing(both, try_again_at=NOON + seconds(1))
    assert found is not None
    assert (found.count, found.until) == (2, NOON)
    before = failing(both, try_again_at=NOON - seconds(1))
    assert before is not None
    assert before.until == NOON + 2.5 * MINUTE


@EXAMPLES
@given(newest_first=tries)
def test_a_pause_is_bounded_and_begins_with_the_newest_failure(newest_first: list[Try]) -> None:
    found = failing(newest_first)
    failed = [one.at for one in newest_first if one.failed]
    if found is None:
        return
    assert found.at in failed
    assert 1 <= found.count <= len(failed)
    assert FIRST_PAUSE <= found.until - found.at <= LONGEST_PAUSE
    assert failing([WORKS, *newest_first]) is None
    more = failing([a_try(at=found.at), *newest_first])
    assert more is not None
    assert more.count == found.count + 1
    assert more.until >= found.until


def test_the_pause_doubles_up_to_an_hour() -> None:
    assert [pause_after(n) / MINUTE for n in range(1, 9)] == [1.25, 2.5, 5, 10, 20, 40, 60, 60]
    assert pause_after(10**9) == LONGEST_PAUSE


@EXAMPLES
@given(seen=snapshots(), p=policies(), trials=st.integers(0, 6), paused=st.booleans())
def test_nothing_starts_in_a_pause_or_beside_a_try_and_else_one_pod(
    seen: Snapshot, p: Policy, trials: int, paused: bool
) -> None:
    pods = [replace(pod, trial=n < trials) for n, pod in enumerate(seen.pods)]
    until = NOON + seconds(1) if paused else NOON
    braked = replace(seen, pods=pods, failing=replace(BROKEN, until=until))
    decision = decide(braked, p)
    started = len(decision.spawn) + len(decision.resume)
    if paused or any(pod.trial and pod.active for pod in pods):
        assert started == 0
    assert started <= 1
    assert decision.target <= decide(replace(braked, failing=None), p).target


def test_one_pod_is_tried_after_the_pause_and_none_beside_it() -> None:
    eager = policy(spawn_per_tick=5)
    over = replace(BROKEN, until=NOON)
    assert len(decide(snapshot(10**6, failing=over), eager).spawn) == 1
    assert not decide(snapshot(10**6, failing=BROKEN), eager).spawn
    for state in (REQUESTED, CREATING, BOOTING, READY):
        trial = [pod_facts(1, state, trial=True)]
        assert not decide(snapshot(10**6, pods=trial, failing=over), eager).spawn
    works = [pod_facts(1)]
    assert len(decide(snapshot(10**6, pods=works, failing=over), eager).spawn) == 1


def test_a_pause_retires_nothing() -> None:
    working = [pod_facts(n) for n in (1, 2)]
    assert not decide(snapshot(10**6, pods=working, failing=BROKEN), policy()).retire


def test_the_sentence_gives_the_reason_and_when_the_next_pod_starts() -> None:
    decision = decide(snapshot(1000, failing=BROKEN), policy())
    assert decision.binding == "brake"
    assert decision.sentence.endswith(
        "limited to 0 because the last 2 pods failed before finishing an item (no module x), "
        "so no pod starts before 12:01:00 UTC"
    )
    assert decision.sentence.count("no module x") == 1
    one = Failing(count=1, at=NOON, because="no module x", until=NOON)
    trial = [pod_facts(1, BOOTING, trial=True)]
    waits = decide(snapshot(1000, failing=one, pods=trial), policy())
    assert (
        "the last pod failed before finishing an item (no module x), so one pod" in waits.sentence
    )


def test_the_sentence_also_gives_the_reason_if_another_rule_binds() -> None:
    decision = decide(snapshot(1000, failing=BROKEN, offers=()), policy(max_instances=0))
    assert decision.binding == "max_instances"
    assert decision.sentence.endswith("(no module x), so no pod starts before 12:01:00 UTC")
    assert decide(snapshot(0, failing=BROKEN), policy()).trouble == ""


@dataclass
class Life:
    """A pod of a broken template: when it was requested and when it fails."""

    requested: datetime
    fails: datetime


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_broken_template_gets_few_pods_however_it_fails(data: st.DataObject) -> None:
    draw = data.draw
    proven, most = draw(st.booleans()), draw(st.integers(1, 4))
    rules = policy(max_instances=most, spawn_per_tick=draw(st.integers(1, 4)))
    lives: list[Life] = []
    for n in range(40):
        now = NOON + n * MINUTE
        failed = [a_try(at=life.fails) for life in lives if life.fails <= now]
        failed.reverse()
        pods: list[PodFacts] = [
            pod_facts(k, BOOTING, trial=True) for k, life in enumerate(lives) if life.fails > now
        ]
        seen = replace(snapshot(10**6, pods=pods, proven=proven, failing=failing(failed)), now=now)
        for _ in decide(seen, rules).spawn:
            fails = now + draw(st.sampled_from([seconds(5), seconds(300), seconds(900)]))
            lives.append(Life(requested=now, fails=fails))
    times = [life.requested for life in lives]
    assert max(sum(t <= u < t + 10 * MINUTE for u in times) for t in times) <= 4


@pytest.mark.parametrize(
    ("said", "starts"),
    [
        ([True, True], False),
        ([True, None], False),
        ([True, False], True),
        ([None, None], True),
        ([False], True),
    ],
)
def test_while_all_ready_pods_fail_everything_no_further_pod_starts(
    said: list[bool | None], starts: bool
) -> None:
    pods = [pod_facts(n, all_fail=one) for n, one in enumerate(said, 1)]
    booting = pod_facts(9, BOOTING, all_fail=True)  # of an agent that has ended
    decision = decide(
        snapshot(10**6, pods=[*pods, booting], all_fail_because="ValueError: x"),
        policy(max_instances=9),
    )
    assert bool(decision.spawn) == starts
    assert (decision.binding == "all_fail") != starts
    assert not decision.retire
    assert ("ValueError: x" in decision.sentence) != starts
