"""The rules: each finding has a rule, and the sets contain the right rules."""

from typing import Final

import pytest

from pods.accounts import breaker
from pods.accounts.connecting import BadSecret, CannotConnect
from pods.diagnosis import INFERRED, Finding
from pods.providers import errors
from pods.rules import BROKEN_RULES, INFERRED_RULES, LOST_RULES, OFFER_RULES, ErrorKind, PodRule

NOTHING_ENDS: Final = {Finding.HEALTHY, Finding.REGISTERED}


def test_each_finding_that_ends_a_pod_is_a_rule() -> None:
    assert {PodRule(f.value) for f in Finding if f not in NOTHING_ENDS}


def test_inferred_rules_are_the_inferred_findings_and_stragglers() -> None:
    assert {f.value for f in INFERRED} | {PodRule.STRAGGLER} == INFERRED_RULES


def test_a_fault_of_the_offer_is_not_a_fault_of_the_machine_or_the_account() -> None:
    assert not OFFER_RULES & (BROKEN_RULES | LOST_RULES)
    assert not OFFER_RULES & {PodRule.AUTH_FAILED, PodRule.QUOTA_EXCEEDED, PodRule.CANNOT_CONNECT}


@pytest.mark.parametrize("cls", errors.Declined.__subclasses__())
def test_each_way_to_decline_is_a_kind_of_error_and_a_rule(cls: type[errors.Declined]) -> None:
    kind = breaker.kind_of(cls("no"))
    assert kind not in {ErrorKind.DECLINED, ErrorKind.OTHER}
    assert PodRule(kind.value)


def test_each_error_has_its_kind() -> None:
    assert breaker.kind_of(errors.Declined("no")) is ErrorKind.DECLINED
    assert breaker.kind_of(errors.RateLimited("later")) is ErrorKind.RATE_LIMITED
    assert breaker.kind_of(errors.Unavailable("no answer")) is ErrorKind.UNAVAILABLE
    assert breaker.kind_of(BadSecret("env:KEY is empty")) is ErrorKind.BAD_SECRET
    assert breaker.kind_of(CannotConnect("pace is -1")) is ErrorKind.CANNOT_CONNECT
    assert breaker.kind_of(errors.ProviderError("?")) is ErrorKind.OTHER
