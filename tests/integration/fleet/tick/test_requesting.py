"""Which settings the pods of a fleet get, and which fleets take pods."""

from typing import Any

import pytest

from fleet.decision.values import Mode
from fleet.models import Backlog, Fleet
from fleet.tick import requesting, wishes
from pods.models import Account
from tests.support.factories import NOON, a_fleet, an_account

pytestmark = pytest.mark.django_db


def test_the_settings_are_those_of_the_fleet_with_that_id() -> None:
    a_fleet(name="other", image="other:1")
    fleet = a_fleet(name="emb", image="emb:1")
    found = requesting.template_of(fleet.pk)
    assert found is not None
    assert (found.fleet_id, found.image, found.agent["fleet"]) == (fleet.pk, "emb:1", "emb")
    assert requesting.template_of(fleet.pk + 1) is None


def test_a_machine_becomes_a_pod_only_of_a_fleet_that_is_there() -> None:
    archived, fleet = a_fleet(archived_at=NOON), a_fleet()
    found = [requesting.adopts(pk) for pk in (archived.pk, fleet.pk, fleet.pk + 1)]
    assert found == [False, True, False]


@pytest.mark.parametrize(
    ("backlog", "kind", "app"),
    [
        (Backlog.REDIS_STREAM, "", ""),
        (Backlog.DATASET, "dataset", ""),
        (Backlog.CELERY_REDIS, "", "m:f"),
    ],
)
def test_an_agent_is_told_what_its_backlog_holds(backlog: Backlog, kind: str, app: str) -> None:
    told = requesting.agent_settings(Fleet(name="emb", handler="m:f", backlog=backlog))
    assert (told["kind"], told["celery_app"], told["handler"]) == (kind, app, "m:f")


@pytest.mark.parametrize("field", ["image", "handler", "bundle", "start_command"])
def test_a_canary_tests_each_part_of_the_template(field: str) -> None:
    usual: dict[str, Any] = {"image": "i:1", "handler": "m:f"}
    known = requesting.template_hash(Fleet(**usual))
    # As every version has written it: an upgrade replaces no pod.
    assert known.startswith("8880f9adbc29")
    assert requesting.template_hash(Fleet(**usual, max_instances=9)) == known
    assert requesting.template_hash(Fleet(**{**usual, field: "other"})) != known


def wished(account: Account) -> set[int | None]:
    return {query["min_vram_gb"] for query in account.surveys.values_list("query", flat=True)}


def test_accounts_are_asked_for_what_the_running_fleets_that_use_them_want() -> None:
    account, other = an_account("vastai"), an_account("vastai")
    rows: list[dict[str, Any]] = [
        {"accounts": [account]},
        {"accounts": [account, other]},
        {"accounts": [other]},
        {"accounts": [account], "mode": Mode.PAUSED.value},
        {"accounts": [account], "archived_at": NOON},
    ]
    for n, row in enumerate(rows):
        a_fleet(image="i:1", offer_query={"min_vram_gb": 10 + n}, **row)
    broken = a_fleet(image="i:1", accounts=[account])
    Fleet.objects.filter(pk=broken.pk).update(offer_query={"gpus": ["H100"]})
    wishes.keep_wishes(account)
    assert wished(account) == {10, 11}
    assert wished(other) == set()


def test_a_decision_without_new_pods_asks_the_database_nothing(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(0):
        requesting.request_pods(Fleet(), [], because="none is needed")
