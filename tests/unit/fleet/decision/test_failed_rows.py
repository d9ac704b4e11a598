"""A dataset of which too many rows failed has no pods."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.values import Policy, RowsFailed, Rule, Snapshot
from pods.rules import PodRule
from pods.states import READY
from tests.support.factories import pod_facts, policy, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots


@EXAMPLES
@given(seen=snapshots(), p=policies(), rows=st.integers(0, 3000), percent=st.integers(0, 100))
def test_no_pod_runs_and_none_starts_above_the_tolerated_share(
    seen: Snapshot, p: Policy, rows: int, percent: int
) -> None:
    failed = rows * percent // 100
    found = replace(seen, rows_failed=RowsFailed(failed=failed, rows=rows, because="bad"))
    decision = decide(found, replace(p, tolerated_failure_percent=5))
    if rows >= 1000 and failed > rows * 0.05:
        assert not decision.spawn
        assert not decision.resume
        assert {r.pod_id for r in decision.retire} >= {pod.pod_id for pod in seen.active}
    else:
        assert decision.binding is not Rule.TOLERATED_FAILURE_PERCENT


@pytest.mark.parametrize(
    ("failed", "rows", "percent", "held"),
    [
        (999, 999, 5, False),
        (50, 1000, 5, False),
        (51, 1000, 5, True),
        (1, 1000, 0, True),
        (1000, 1000, 100, False),
    ],
)
def test_the_share_counts_after_the_first_thousand_rows(
    failed: int, rows: int, percent: int, held: bool
) -> None:
    seen = snapshot(
        9000,
        pods=[pod_facts(1, READY)],
        rows_failed=RowsFailed(failed=failed, rows=rows, because="ValueError: too long"),
    )
    decision = decide(seen, policy(tolerated_failure_percent=percent))
    assert [r.rule for r in decision.retire] == [PodRule.TOLERATED_FAILURE_PERCENT] * held
    if held:
        assert f"rows failed, more than {percent} %: ValueError: too long" in decision.sentence
