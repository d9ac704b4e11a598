"""What follows from the provider and the options of an account, without a call and without a row."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pods.accounts import connecting, editing, machine_logs, registry_logins
from pods.accounts.surveying import Surveyed
from pods.models import Account, Pod
from pods.providers import registry
from pods.providers.base import Offer
from tests.support.factories import NOON


@pytest.fixture(autouse=True)
def _with_an_adapter_of_a_third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter `mine` does not describe its options; no other one of this kind exists."""
    find = registry._factory

    def factory(name: str) -> Any:
        return object() if name == "mine" else find(name)

    monkeypatch.setattr(registry, "_factory", factory)


@pytest.mark.parametrize(
    ("provider", "options", "costs"),
    [
        ("runpod", {}, True),
        ("docker", {}, False),
        ("docker", {"gpus": 1}, False),
        ("docker", {"hourly_usd": "0"}, False),
        ("docker", {"hourly_usd": "0.5"}, True),
        ("docker", {"hourly_usd": None}, False),
        ("docker", {"hourly_usd": "cheap"}, True),
        ("mine", {}, True),
        ("nobody's", {}, True),
    ],
)
def test_whether_the_pods_of_an_account_may_cost_money(
    provider: str, options: dict[str, Any], *, costs: bool
) -> None:
    assert editing.may_cost(Account(provider=provider, options=options)) is costs


@pytest.mark.parametrize(
    ("provider", "options", "rented"),
    [
        ("runpod", {}, True),
        ("runpod", {"base_url": "https://api.example"}, True),
        ("runpod", {"base_url": "http://127.0.0.1:9"}, False),
        ("runpod", {"base_url": 5}, True),
        ("docker", {}, False),
        ("mine", {}, True),
        ("nobody's", {}, False),
    ],
)
def test_whether_the_machines_of_an_account_are_a_vendors(
    provider: str, options: dict[str, Any], *, rented: bool
) -> None:
    assert editing.is_rented(Account(provider=provider, options=options)) is rented


@pytest.mark.parametrize(
    ("options", "wrong"), [({}, ""), ({"capacity": "many"}, "capacity"), ({"odd": 1}, None)]
)
def test_the_option_that_is_wrong_is_named(options: dict[str, Any], wrong: str | None) -> None:
    account = Account(provider="local", options=options)
    found = connecting.wrong_option(account)
    assert (found.name if found else None) == (wrong or None)
    if wrong == "":
        connecting.check_options(account)
    else:
        with pytest.raises(ValidationError, match="nothing was changed"):
            connecting.check_options(account)


def test_the_options_of_a_provider_that_needs_a_key_are_checked_without_one() -> None:
    connecting.check_options(Account(provider="runpod"))


@pytest.mark.parametrize("provider", ["docker", "local"])
def test_a_login_is_refused_where_nobody_knows_that_it_is_used(provider: str) -> None:
    account = Account(provider=provider, options={"odd": 1}, registry_host="ghcr.io")
    assert not editing.takes_registry_login(account)
    with pytest.raises(ValidationError, match="takes no login at a registry"):
        editing.refuse_useless_login(account)


@pytest.mark.parametrize(
    ("row", "tells"),
    [
        ({"failed_at": NOON}, True),
        ({}, False),
        ({"failed_at": NOON, "done": 1}, False),
        ({"failed_at": NOON, "done": 1, "retire_rule": "agent_failed"}, True),
        ({"failed_at": NOON, "retire_rule": "agent_ended"}, True),
        ({"failed_at": NOON, "retire_rule": "agent_ended", "interruptible": True}, False),
        ({"failed_at": NOON, "retire_rule": "never_booted", "interruptible": True}, True),
    ],
)
def test_whose_output_may_say_why_it_failed(row: dict[str, Any], *, tells: bool) -> None:
    assert machine_logs._tells_why(Pod(**row)) is tells


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("ghcr.io", "the registry ghcr.io refused the login of account acme for ghcr.io/a/b:1"),
        ("", "the registry ghcr.io does not give ghcr.io/a/b:1 without a login, and account acme "
             "has none there"),
    ],
)  # fmt: skip
def test_to_whom_a_registry_refused_an_image(host: str, says: str) -> None:
    account = Account(name="acme", registry_host=host)
    assert registry_logins.refused(account, "ghcr.io/a/b:1") == says


def test_an_account_without_a_registry_has_no_words_to_check() -> None:
    registry_logins.check_words(Account(registry_user="odd words"), "x+", "in another form")


@pytest.mark.parametrize(
    ("own", "public", "address"),
    [
        ("redis://own", "redis://public", "redis://own"),
        ("", "redis://public", "redis://public"),
        ("", "", "redis://manager"),
    ],
)
def test_at_which_address_pods_elsewhere_reach_their_redis(
    settings: Any, own: str, public: str, address: str
) -> None:
    settings.REDIS_URL, settings.PODS_REDIS_URL = "redis://manager", public
    assert connecting.redis_url_for_pods(own) == address


@pytest.mark.parametrize(
    ("at", "key", "stood"),
    [(NOON, "a", timedelta(hours=1)), (NOON, "b", None), (None, "a", None)],
)
def test_for_how_long_an_offer_has_stood(at: Any, key: str, stood: timedelta | None) -> None:
    offers = [Offer(key=key, hourly_usd=Decimal(1))]
    since = {("a", False): NOON - timedelta(hours=1)}
    account = Account(provider="local")
    survey = Surveyed(account=account, offers=offers, at=at, until=None, partial="", since=since)
    assert survey.stood_for(offers[0]) == stood
