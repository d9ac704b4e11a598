"""What holds a pod back, from where its handler's time went."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.bottleneck import SATURATED, Bottleneck, TimeSpent, bottleneck
from tests.support.examples import examples

LINKED = TimeSpent(
    busy=0.2,
    starved=0.1,
    link=0.7,
    starting=0.0,
    full=False,
    all_fail=False,
    items_wait=True,
)
shares = st.none() | st.sampled_from([0.0, 0.1, 0.45, SATURATED, 1.0])
any_time = st.builds(
    TimeSpent,
    busy=shares,
    starved=shares,
    link=shares,
    starting=shares,
    full=st.booleans(),
    all_fail=st.booleans(),
    items_wait=st.none() | st.booleans(),
)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, "link"),
        ({"starved": 0.7, "link": 0.1}, "feed"),
        ({"full": True}, "memory"),
        ({"starved": 0.7, "link": 0.1, "full": True}, "memory"),
        ({"items_wait": False}, "idle"),
        ({"items_wait": False, "starved": 0.8, "link": 0.0, "full": True}, "idle"),
        ({"items_wait": None}, "unknown"),
        ({"starved": None}, "unknown"),
        ({"link": None}, "unknown"),
        ({"all_fail": True}, "failing"),
        ({"all_fail": True, "busy": None}, "failing"),
        ({"busy": None}, "unknown"),  # an agent of version 1
        ({"busy": 0.9, "link": 0.1, "starved": 0.0}, "handler"),
        ({"busy": 0.9, "link": 0.1, "starved": 0.0, "full": True}, "handler"),
        ({"busy": 0.9, "link": 0.1, "starved": 0.0, "items_wait": False}, "handler"),
        ({"busy": 0.9, "link": 0.1, "starved": 0.0, "items_wait": None}, "handler"),
        ({"busy": 0.89, "link": 0.11, "starved": 0.0}, "link"),
        ({"busy": 0.375, "starting": 0.575, "link": 0.05, "starved": 0.0}, "handler"),
        # Celery's worker does not say why it waits.
        ({"busy": 0.5, "starved": None, "link": None, "starting": None}, "unknown"),
        ({"busy": 0.9, "starved": None, "link": None, "starting": None}, "handler"),
        (
            {"busy": 0.5, "starved": None, "link": None, "starting": None, "items_wait": False},
            "idle",
        ),
    ],
)
def test_what_holds_a_pod_back(change: dict[str, object], named: str) -> None:
    assert bottleneck(replace(LINKED, **change)) == named  # type: ignore[arg-type]


@settings(max_examples=examples(500))
@given(any_time)
def test_a_pod_waits_only_if_items_wait_and_its_handler_does_not_work_all_the_time(
    spent: TimeSpent,
) -> None:
    if bottleneck(spent) in {Bottleneck.LINK, Bottleneck.FEED, Bottleneck.MEMORY}:
        assert spent.items_wait
        assert not spent.all_fail
        assert spent.busy is not None
        assert spent.busy < SATURATED


@settings(max_examples=examples(500))
@given(any_time)
def test_nothing_is_said_of_an_agent_that_does_not_measure_but_that_it_fails(
    spent: TimeSpent,
) -> None:
    version_1 = replace(spent, busy=None, starved=None, link=None, starting=None)
    assert bottleneck(version_1) in {Bottleneck.UNKNOWN, Bottleneck.FAILING}
