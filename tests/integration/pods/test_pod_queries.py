"""Queries that use a partial index find the same pods as the plain ones, and do use it."""

import pytest
from django.db import connection

from pods.base import indexed
from pods.models import Pod
from pods.rules import FAILED_BY, PodRule
from pods.states import FAILED, PodState
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db


def test_the_index_of_pods_that_may_bill_has_each_of_them() -> None:
    fleet = a_fleet()
    for state in PodState:
        a_pod(fleet, state)
    found = set(Pod.objects.filter(indexed.may_bill()).values_list("state", flat=True))
    assert found == set(Pod.objects.billable().values_list("state", flat=True))
    assert found


def test_the_index_of_pods_that_failed_has_each_of_them() -> None:
    fleet = a_fleet()
    for rule in PodRule:
        a_pod(fleet, FAILED, retire_rule=rule.value)
    found = Pod.objects.filter(indexed.has_failed()).values_list("retire_rule", flat=True)
    assert sorted(found) == FAILED_BY


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reads a small table at once")
def test_sqlite_takes_the_partial_indexes() -> None:
    fleet = a_fleet()
    billing = Pod.objects.filter(indexed.may_bill()).filter(fleet=fleet).order_by()
    assert "pod_billable" in billing.explain()
    failed = Pod.objects.filter(indexed.has_failed()).filter(
        fleet=fleet, requested_at__gte="2026-01-01 00:00Z"
    )
    assert "pod_failed" in failed.explain()
