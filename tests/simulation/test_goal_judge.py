"""The judge of goals sees broken promises and overspent budgets, and nothing else."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.states import DRAINING, READY, STOPPED, TERMINATING, PodState
from tests.simulation import goal_judge
from tests.simulation.goal_judge import Deadline, Said, is_stuck
from tests.simulation.limits import Violated
from tests.support.factories import pod_facts

SET_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
OK, RISK, UNKNOWN, STUCK = "", "on the edge", "unknown", "stuck"
LAST = 5  # minutes until the deadline


def said(*ticks: str) -> list[Said]:
    """A tick in each minute."""
    return [
        Said(
            at=SET_AT + timedelta(minutes=n),
            risk=RISK if tick in {RISK, STUCK} else "",
            known=tick != UNKNOWN,
            stuck=tick == STUCK,
        )
        for n, tick in enumerate(ticks)
    ]


def deadline(*ticks: str, done: float | None = LAST, **values: bool) -> Deadline:
    return Deadline(
        set_at=SET_AT,
        by=SET_AT + timedelta(minutes=LAST),
        done_at=None if done is None else SET_AT + timedelta(minutes=done),
        said=said(*ticks),
        **values,
    )


def violates(words: str) -> AbstractContextManager[Any]:
    return pytest.raises(Violated, match=words) if words else nullcontext()


FAULTS: dict[str, bool] = {"faults": True}
LATE: dict[str, bool] = {"faults": True, "late_fault": True}


@pytest.mark.parametrize(
    ("ticks", "facts", "words"),
    [
        ([OK] * 5, {}, ""),
        ([OK] * 5, {"done": 5.2}, ""),  # what is done is seen a step later
        ([OK] * 5, {"done": 5.5}, "promised at each of 5 ticks|was missed"),
        ([OK] * 5, {"done": None, **FAULTS}, "promised at each of 5 ticks"),
        ([OK] * 5, {"done": None, **LATE}, ""),
        ([RISK, RISK, OK, OK, OK], {}, ""),
        ([RISK, RISK, OK, OK, OK], {"done": None}, "promised since 12:02:00, was missed"),
        ([RISK] * 5, {"done": None}, ""),
        ([OK, OK, RISK, OK, OK], {}, "promised at 12:00:00 was taken back at 12:02:00: on the"),
        ([OK, UNKNOWN, OK, OK, OK], {}, "taken back at 12:01:00: the backlog is unknown"),
        ([OK, OK, RISK, OK, OK], {"done": None, **FAULTS}, ""),
        ([OK, STUCK, RISK, OK, OK], {}, ""),
        ([OK, STUCK, RISK, OK, OK], {"done": None}, "promised since 12:03:00, was missed"),
        ([OK, OK], {"done": None}, ""),  # no tick came for three minutes
    ],
)
def test_a_promise_is_judged(ticks: list[str], facts: dict[str, Any], words: str) -> None:
    with violates(words):
        goal_judge.verdict(deadline(*ticks, **facts))


def test_the_verdict_says_what_became_of_it() -> None:
    kept, missed = deadline(*[OK] * 5), deadline(*[RISK] * 5, done=None)
    assert goal_judge.verdict(kept) == "deadline, kept, promised"
    assert goal_judge.verdict(missed) == "deadline, missed, not promised"


@pytest.mark.parametrize(
    ("state", "seconds", "stuck"),
    [
        (TERMINATING, 121, True),
        (DRAINING, 121, True),
        (TERMINATING, 120, False),
        (TERMINATING, None, False),
        (READY, 121, False),
        (STOPPED, 121, False),
    ],
)
def test_a_pod_is_stuck_that_is_not_proved_gone(
    state: PodState, seconds: int | None, *, stuck: bool
) -> None:
    since = None if seconds is None else timedelta(seconds=seconds)
    assert is_stuck(pod_facts(1, state, leaving_for=since)) == stuck


@pytest.mark.parametrize(
    ("spent", "billed", "allowed", "words"),
    [
        ("1", "1.01", "0", ""),
        ("1.001", "1", "0", r"\$1\.00100 of \$1 is spent"),
        ("1", "1.011", "0", r"\$1\.01100 billed"),
        ("1.5", "1.51", "0.5", ""),  # no tick could see it, because of faults
        ("1.51", "1.51", "0.5", "is spent"),
    ],
)
def test_a_budget_is_judged(spent: str, billed: str, allowed: str, words: str) -> None:
    with violates(words):
        goal_judge.check_budget(
            Decimal(1),
            spent_usd=Decimal(spent),
            billed_usd=Decimal(billed),
            allowed=Decimal(allowed),
            unseen=Decimal("0.01"),
        )
