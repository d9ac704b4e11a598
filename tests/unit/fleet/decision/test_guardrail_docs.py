"""The page of the guardrails is true: each guardrail has its row, in order and with its kind."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.decision.guardrails import GUARDRAILS
from fleet.decision.sampling import Sampling
from fleet.decision.stopped import startable
from fleet.decision.values import Caps, Elsewhere, Failing, Goal, Mode, RowsFailed
from pods.bottleneck import Bottleneck
from tests.support.factories import NOON, pod_facts, policy, snapshot

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "guardrails.md"
ROW = re.compile(r"^\| `(\w+)` \| .+ \| (retires|holds) \|$", re.MULTILINE)


def test_each_guardrail_has_its_row_in_its_order() -> None:
    rows = [name for name, _ in ROW.findall(PAGE.read_text())]
    assert rows == [name for name, _ in GUARDRAILS]


def test_the_page_says_which_guardrails_retire_pods() -> None:
    waits: dict[str, Any] = {
        "busy": 0.1,
        "bottleneck": Bottleneck.LINK,
        "ready_for": timedelta(minutes=5),
    }
    works: dict[str, Any] = {"hourly_usd": Decimal(3), "in_flight": 1, "all_fail": True}
    pods = tuple(pod_facts(n, **works, **waits) for n in range(3))
    caps = Caps(max_instances=1, max_hourly_usd=Decimal(1), daily_budget_usd=Decimal(1))
    seen = snapshot(
        depth=1,
        pending=1,
        pods=pods,
        offers=(),
        proven=False,
        ranges=1,
        rows_failed=RowsFailed(failed=100, rows=1000),
        items_per_second=1.0,
        boot_time=timedelta(minutes=5),
        waiting_for=timedelta(minutes=5),
        spent_today_usd=Decimal(2),
        spent_total_usd=Decimal(2),
        elsewhere=Elsewhere(pods=1),
        failing=Failing(count=1, at=NOON, because="no module", until=NOON + timedelta(minutes=1)),
    )
    limits = {
        "max_instances": 1,
        "max_hourly_usd": Decimal(1),
        "daily_budget_usd": Decimal(1),
        "total_budget_usd": Decimal(1),
        "budget_usd": Decimal(1),
        "installation": caps,
    }
    kinds = {}
    for name, guardrail in GUARDRAILS:
        mode = {"stop_all": Mode.STOP_ALL, "paused": Mode.PAUSED}.get(name, Mode.RUNNING)
        offers = snapshot().offers if name == "installation_hourly_usd" else ()
        facts, rules = replace(seen, offers=offers), policy(**limits, mode=mode)
        goal = Goal.BUDGET if name == "budget_usd" else Goal.DEMAND
        sample = Sampling.OVER if name == "sample" else None
        rules = replace(rules, goal=goal, sample=sample)
        bound = guardrail(facts, rules, startable(facts, rules))
        assert bound is not None, name
        kinds[name] = "retires" if bound.retires else "holds"
    assert kinds == dict(ROW.findall(PAGE.read_text()))
