"""An alert says that a fleet's Redis deletes keys by itself, also after the server went away."""

import os
from collections.abc import Iterator

import pytest
import redis

from fleet.alerts import reconciling, servers
from fleet.models import Alert, Fleet
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def evicting(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """The tests' server with a policy that deletes keys; nothing is known of it yet."""
    monkeypatch.setattr(servers, "_said", {})
    client = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    client.config_set("maxmemory-policy", "volatile-lru")
    yield client
    client.config_set("maxmemory-policy", "noeviction")
    client.close()


def open_alerts() -> list[tuple[str, str]]:
    rows = Alert.objects.open().filter(cause="redis_evicts")
    return list(rows.values_list("subject", "severity"))


def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = servers.monotonic() + 3600
    monkeypatch.setattr(servers, "monotonic", lambda: later)


def test_a_server_that_deletes_keys_has_one_alert_until_it_is_set_right(
    evicting: "redis.Redis", redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(backlog_url=f"{redis_url}?client_name=own")
    for _ in range(2):
        reconciling.reconcile_alerts()
        assert open_alerts() == [(f"fleet:{fleet.pk}", "warning")]
    assert "volatile-lru" in Alert.objects.open().get(cause="redis_evicts").text
    evicting.config_set("maxmemory-policy", "noeviction")
    reconciling.reconcile_alerts()
    assert open_alerts()  # it is asked once a minute
    an_hour_later(monkeypatch)
    reconciling.reconcile_alerts()
    assert open_alerts() == []


def test_while_the_server_does_not_answer_its_last_answer_holds(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(backlog_url=redis_url)
    reconciling.reconcile_alerts()
    closed = "redis://127.0.0.1:1/0"
    Fleet.objects.filter(pk=fleet.pk).update(backlog_url=closed)
    servers._said[closed] = servers._said[redis_url]
    an_hour_later(monkeypatch)
    reconciling.reconcile_alerts()
    assert open_alerts() == [(f"fleet:{fleet.pk}", "warning")]


def test_a_fleet_without_an_address_is_judged_by_the_server_of_the_installation() -> None:
    fleet = a_fleet()
    rabbit = a_fleet(backlog="celery_rabbitmq", backlog_url="http://guest:guest@127.0.0.1:1/")
    assert servers.evictions([fleet]).keys() == {fleet.pk}
    assert "volatile-lru" in (servers.evictions([fleet])[fleet.pk] or "")
    assert "volatile-lru" in (servers.evictions([rabbit])[rabbit.pk] or "")


def test_a_server_of_which_nothing_is_known_raises_no_alert() -> None:
    fleet = a_fleet(backlog_url="redis://127.0.0.1:1/0")
    assert servers.evictions([fleet]) == {fleet.pk: None}
    reconciling.reconcile_alerts()
    assert open_alerts() == []


def test_a_new_process_that_gets_no_answer_does_not_end_the_alert(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(backlog_url=redis_url)
    reconciling.reconcile_alerts()
    Fleet.objects.filter(pk=fleet.pk).update(backlog_url="redis://127.0.0.1:1/0")
    monkeypatch.setattr(servers, "_said", {})
    reconciling.reconcile_alerts()
    assert open_alerts() == [(f"fleet:{fleet.pk}", "warning")]
