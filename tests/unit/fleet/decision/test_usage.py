"""How much pods work, and what follows from it: no further pod beside pods that wait."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from fleet.decision.decide import decide
from fleet.decision.usage import use_of
from fleet.decision.values import Override, PodFacts, Policy, Snapshot
from fleet.tick.recording import recorded, replayed
from pods.bottleneck import Bottleneck
from pods.states import BOOTING, DRAINING, READY, STOPPED
from tests.support.factories import NOON, pod_facts, policy, seconds, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots

EAGER = policy(spawn_per_tick=3, max_instances=9)
MINUTE = seconds(60)


def a_user(number: int = 1, **values: Any) -> PodFacts:
    """A ready pod that waits for its link for most of the time."""
    waits = {"busy": 0.22, "bottleneck": Bottleneck.LINK, "ready_for": MINUTE}
    return pod_facts(number, **{**waits, **values})


def waiting(*pods: PodFacts, **values: Any) -> Snapshot:
    return snapshot(10**6, pods=pods, **{"waiting_for": MINUTE, **values})


def starts(seen: Snapshot, rules: Policy = EAGER) -> int:
    decision = decide(seen, rules)
    return len(decision.spawn) + len(decision.resume)


@pytest.mark.parametrize("cause", list(Bottleneck))
def test_only_the_link_and_the_feed_hold_further_pods_back(cause: Bottleneck) -> None:
    decision = decide(waiting(a_user(bottleneck=cause)), EAGER)
    held = cause in {Bottleneck.LINK, Bottleneck.FEED}
    assert len(decision.spawn) == (0 if held else 3)
    assert (decision.binding == "min_busy_percent") == held


@pytest.mark.parametrize(
    ("busy", "least", "expected"),
    [(0.499, 50, 0), (0.5, 50, 3), (0.0, 1, 0), (0.0, 0, 3), (0.89, 90, 0), (1.0, 100, 3)],
)
def test_the_share_is_compared_with_the_fleets_field(
    busy: float, least: int, expected: int
) -> None:
    assert starts(waiting(a_user(busy=busy)), replace(EAGER, min_busy_percent=least)) == expected


def test_the_median_of_the_pods_counts() -> None:
    works = {"busy": 0.95, "bottleneck": Bottleneck.HANDLER}
    one_waits = [a_user(1), a_user(2, **works), a_user(3, **works)]
    assert starts(waiting(*one_waits)) == 3
    two_wait = [a_user(1), a_user(2, bottleneck=Bottleneck.FEED), a_user(3, **works)]
    assert starts(waiting(*two_wait)) == 0


def test_most_of_the_pods_that_work_too_little_must_wait_for_the_same_server() -> None:
    idle = {"busy": 0.1, "bottleneck": Bottleneck.MEMORY}
    assert starts(waiting(a_user(1), a_user(2, **idle))) == 3
    assert starts(waiting(a_user(1), a_user(2), a_user(3, **idle))) == 0


@pytest.mark.parametrize(
    "unknown",
    [
        {"busy": None},
        {"ready_for": seconds(29)},
        {"ready_for": None},
        {"state": BOOTING},
        {"state": DRAINING},
        {"state": STOPPED},
    ],
)
def test_a_pod_of_which_nothing_is_known_yet_does_not_count(unknown: dict[str, Any]) -> None:
    assert starts(waiting(a_user(1, **unknown))) > 0
    works = {"busy": 0.95, "bottleneck": Bottleneck.HANDLER}
    others = [a_user(n, **unknown) for n in (2, 3, 4)]
    assert starts(waiting(a_user(1, **works), *others)) > 0
    assert starts(waiting(a_user(1), *others)) == 0


@pytest.mark.parametrize(("time", "expected"), [(None, 3), (seconds(29), 3), (seconds(30), 0)])
def test_it_counts_only_while_items_waited_for_the_whole_window(time: Any, expected: int) -> None:
    assert starts(waiting(a_user(), waiting_for=time)) == expected


def test_min_instances_and_an_override_still_get_their_pods() -> None:
    assert starts(waiting(a_user()), replace(EAGER, min_instances=3)) == 2
    held = Override(pods=4, until=NOON + seconds(1), by="ann", because="the demo")
    assert starts(waiting(a_user()), replace(EAGER, override=held)) == 3
    assert starts(waiting(a_user()), replace(EAGER, override=replace(held, until=NOON))) == 0


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_nothing_starts_beside_pods_that_wait_and_no_running_pod_ends_for_it(
    seen: Snapshot, p: Policy
) -> None:
    decision, without = decide(seen, p), decide(seen, replace(p, min_busy_percent=0))
    stopped = {pod.pod_id for pod in seen.pods if pod.state is STOPPED}
    assert [r for r in decision.retire if r.pod_id not in stopped] == [
        r for r in without.retire if r.pod_id not in stopped
    ]
    new = len(decision.spawn) + len(decision.resume)
    assert new <= len(without.spawn) + len(without.resume)
    if new and all(wait_for_the_server(seen, p)):
        held = p.override.pods if p.override and p.override.until > seen.now else 0
        assert len(seen.active) + new <= max(p.min_instances, held)


def wait_for_the_server(seen: Snapshot, p: Policy) -> list[bool]:
    """For each known pod, whether it waits too long; a false value first if nothing is known."""
    time = seen.waiting_for
    known = [
        pod
        for pod in seen.pods
        if pod.state is READY
        and pod.busy is not None
        and pod.ready_for is not None
        and pod.ready_for >= seconds(30)
    ]
    wait = [
        pod.bottleneck.value in {"link", "feed"} and (pod.busy or 0) * 100 < p.min_busy_percent
        for pod in known
    ]
    return [bool(known), time is not None and time >= seconds(30), *wait]


def test_the_sentence_says_how_much_they_work_what_they_wait_for_and_what_to_change() -> None:
    far = [a_user(n, rtt=seconds(0.18), batch=64) for n in (1, 2, 3)]
    assert decide(waiting(*far), EAGER).sentence.endswith(
        "; limited to 3 because 3 pods are busy 22 % of the time: they wait for the link to Redis, "
        "round trip 180 ms; raise Most items in a batch (64), or bring Redis nearer to the pods "
        "(docs/howto/use-pods-well.md)"
    )


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        ({"rtt": seconds(0.02), "batch": 8}, "20 ms; bring Redis nearer to the pods (docs"),
        ({"rtt": seconds(0.019), "batch": 8}, "19 ms; make items and results smaller (docs"),
        ({"batch": 8}, "Redis; bring Redis nearer to the pods, or make items and results smaller"),
        ({"rtt": seconds(0.1)}, "100 ms; raise Most items in a batch (64), or bring Redis nearer"),
        ({"bottleneck": Bottleneck.FEED}, "1 pod is busy 22 % of the time: it waits for items"),
        ({"bottleneck": Bottleneck.FEED}, "; fill the stream faster, or make items smaller (docs"),
    ],
)
def test_the_advice_follows_the_cause_the_round_trip_and_the_batches(
    facts: dict[str, Any], advice: str
) -> None:
    assert advice in decide(waiting(a_user(**facts)), EAGER).because


def test_the_use_of_a_fleet_is_that_of_its_measured_pods() -> None:
    pods = [
        a_user(1, busy=0.2, gpu_percent=10),
        a_user(2, busy=0.3, gpu_percent=30),
        a_user(3, busy=0.9, bottleneck=Bottleneck.HANDLER),
        a_user(4, busy=None, gpu_percent=90),
    ]
    use = use_of(waiting(*pods))
    assert use is not None
    assert (use.pods, use.busy_percent, use.bottleneck) == (3, 30, Bottleneck.LINK)
    assert use.gpu_percent == 20
    assert use_of(waiting(pods[3])) is None


def test_what_the_pods_say_is_recorded_with_the_decision() -> None:
    seen = waiting(a_user(rtt=seconds(0.18), batch=64, gpu_percent=31.0))
    assert replayed(recorded(seen)) == seen
