"""Each guardrail says what follows from it; the decision does not know guardrails by name."""

import ast
import inspect
from decimal import Decimal

from hypothesis import given

from fleet.decision import decide as deciding
from fleet.decision.decide import decide
from fleet.decision.guardrails import GUARDRAILS
from fleet.decision.stopped import startable
from fleet.decision.values import Mode, Policy, Rule, Snapshot
from pods.rules import PodRule
from pods.states import CREATING, READY, STOPPED
from tests.support.factories import pod_facts, policy, snapshot
from tests.support.strategies import EXAMPLES, policies, snapshots

GOALS = (Rule.DRAIN_BY, Rule.GOAL_BUDGET, Rule.CHEAPEST)
WISHES = (Rule.OVERRIDE, Rule.UNKNOWN, Rule.DEMAND, *GOALS, Rule.MIN_INSTANCES, Rule.NEW_CODE)


def test_each_rule_is_a_wish_or_a_guardrail() -> None:
    assert tuple(Rule) == (*WISHES, *(rule for rule, _ in GUARDRAILS))


def test_the_decision_names_no_guardrail() -> None:
    names = {rule.value for rule, _ in GUARDRAILS}
    tree = ast.parse(inspect.getsource(deciding))
    rules = {n.attr.lower() for n in ast.walk(tree) if isinstance(n, ast.Attribute) and named(n)}
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert "demand" in rules
    assert (rules | texts) & names == set()


def named(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {"Rule", "PodRule"}


@EXAMPLES
@given(seen=snapshots(), p=policies())
def test_a_bound_that_retires_is_named_like_its_guardrail(seen: Snapshot, p: Policy) -> None:
    for rule, guardrail in GUARDRAILS:
        bound = guardrail(seen, p, startable(seen, p))
        if bound is not None and bound.retires:
            assert bound.retires.value == rule.value
        if bound is not None and bound.ends_stopped:
            assert bound.retires
            assert bound.at_most <= len(seen.active)


def test_stop_all_also_ends_stopped_pods_if_nothing_runs() -> None:
    seen = snapshot(0, pods=[pod_facts(1, STOPPED)], spent_today_usd=Decimal(9))
    p = policy(mode=Mode.STOP_ALL, daily_budget_usd=Decimal(1))
    [leaving] = decide(seen, p).retire
    assert (leaving.rule, leaving.because) == (PodRule.STOP_ALL, "an operator stopped the fleet")


def test_a_spent_budget_ends_running_and_stopped_pods_each_by_their_rule() -> None:
    pods = [pod_facts(1, READY, hourly_usd=Decimal(1)), pod_facts(2, STOPPED)]
    seen = snapshot(0, pods=pods, spent_today_usd=Decimal(9))
    retire = decide(seen, policy(daily_budget_usd=Decimal(1))).retire
    assert [(r.pod_id, r.rule) for r in retire] == [
        (1, PodRule.DAILY_BUDGET_USD),
        (2, PodRule.STOPPED),
    ]


def test_a_pause_takes_back_pods_that_were_not_created() -> None:
    seen = snapshot(1000, pods=[pod_facts(1, CREATING), pod_facts(2, READY)])
    [leaving] = decide(seen, policy(installation_mode=Mode.PAUSED)).retire
    assert (leaving.pod_id, leaving.rule) == (1, PodRule.PAUSED)
    assert leaving.because == "paused before it was created"
