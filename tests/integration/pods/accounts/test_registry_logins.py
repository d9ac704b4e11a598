"""The login at a registry: checked as a whole, sealed, never shown, given for its own images alone."""

import html
import io
import json
import sys
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from fleet import resealing
from pods import spawning
from pods.accounts import connecting, editing, machine_logs, registry_logins
from pods.base import sealing
from pods.models import Account, Pod
from pods.providers.docker import provider as docker
from pods.rules import PodRule
from pods.states import FAILED, REQUESTED
from tests.support.admin_pages import page_of
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.one_machine import OneMachine
from tests.support.rigs.runpod_rig import KEY, Rig

pytestmark = pytest.mark.django_db
PASSWORD = "ghp-0123456789-of-ann"
IMAGE = "ghcr.io/ann/worker:4"
CHANGES = {"registry_host": "GHCR.io", "registry_user": "ann"}


@pytest.fixture
def account(redis_url: str) -> Account:
    """A disabled account, which nobody tries: the login is not for its vendor."""
    return an_account("docker", enabled=False)


def with_login(account: Account, **changes: Any) -> Account:
    values = {**CHANGES, **changes}
    editing.save_account(account, registry_password=PASSWORD, changes=values)
    return Account.objects.get(pk=account.pk)


def test_a_login_is_sealed_and_only_images_of_its_registry_get_it(account: Account) -> None:
    row = with_login(account)
    assert (row.registry_host, row.registry_user) == ("ghcr.io", "ann")
    assert PASSWORD not in repr(vars(row))
    login = registry_logins.login_for(row, IMAGE)
    assert login is not None
    assert (login.host, login.user, login.password) == ("ghcr.io", "ann", PASSWORD)
    assert PASSWORD not in repr(login) + login.digest + login.owner
    for image in ("", "you/worker:1", "ghcr.io.example/you/worker", "registry.example/ghcr.io/a"):
        assert registry_logins.login_for(row, image) is None


def test_each_login_has_a_name_of_its_own_at_a_vendor(account: Account) -> None:
    first = registry_logins.login_for(with_login(account), IMAGE)
    again = registry_logins.login_for(Account.objects.get(), IMAGE)
    editing.save_account(account, registry_password="another", changes={})
    other = registry_logins.login_for(Account.objects.get(), IMAGE)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.digest == again.digest != other.digest
    assert first.owner == other.owner


@pytest.mark.parametrize(
    ("changes", "password", "field", "says"),
    [
        ({"registry_host": "https://ghcr.io"}, PASSWORD, "registry_host", "ghcr.io or docker.io"),
        ({"registry_host": ""}, PASSWORD, "registry_host", "is not the host"),
        ({"registry_user": ""}, PASSWORD, "registry_user", "give the user"),
        ({"registry_user": "-p x"}, PASSWORD, "registry_user", "without blanks"),
        ({"registry_user": "-p"}, PASSWORD, "registry_user", "without blanks"),
        ({"registry_user": ""}, None, "registry_user", "give the user"),
        ({"registry_host": ""}, None, "registry_host", "is not the host"),
        ({"registry_host": "", "registry_user": ""}, PASSWORD, "registry_host", "is not the host"),
        ({}, "x" * 8193, "registry_password", "1 to 8192 printable characters"),
        ({}, None, "registry_password", "give the password"),
        ({}, "two words", "registry_password", "printable characters"),
        ({}, " \n", "registry_password", "printable characters"),
    ],
)
def test_a_login_that_no_registry_takes_is_refused(
    account: Account, changes: dict[str, str], password: str | None, field: str, says: str
) -> None:
    with pytest.raises(ValidationError, match=says) as refused:
        editing.save_account(account, registry_password=password, changes={**CHANGES, **changes})
    assert field in refused.value.error_dict
    stored = Account.objects.get()
    assert (stored.registry_host, stored.sealed_registry_password) == ("", "")


@pytest.mark.parametrize(
    ("user", "password", "field"),
    [
        ("ann", "a'b", "registry_password"),
        ("ann", "a\\b", "registry_password"),
        ("ann", "-secret", "registry_password"),
        ('a"n', PASSWORD, "registry_user"),
    ],
)
def test_a_login_that_vastai_cannot_pass_on_is_refused_when_it_is_saved(
    redis_url: str, user: str, password: str, field: str
) -> None:
    account = an_account("vastai", enabled=False)
    changes = {"registry_host": "ghcr.io", "registry_user": user}
    with pytest.raises(ValidationError, match="does not pass on") as refused:
        editing.save_account(account, registry_password=password, changes=changes)
    assert list(refused.value.error_dict) == [field]
    assert password not in str(refused.value)
    docker_host = an_account("docker", name="own", enabled=False)
    changes = {"registry_host": "ghcr.io", "registry_user": "ann"}
    editing.save_account(docker_host, registry_password=password, changes=changes)


def test_an_account_with_such_a_login_from_before_can_be_disabled(redis_url: str) -> None:
    login = {"registry_host": "ghcr.io", "registry_user": "ann"}
    account = an_account("vastai", **login, sealed_registry_password=sealing.seal("a'b"))
    editing.save_account(account, changes={"enabled": False})
    with pytest.raises(ValidationError, match="give the password without - in front"):
        editing.save_account(account, changes={"enabled": True})


def test_another_registry_does_not_get_the_password_of_the_first(account: Account) -> None:
    row = with_login(account)
    for changes in ({"registry_host": "evil.example"}, {"registry_user": "bob"}):
        with pytest.raises(ValidationError, match=r"belongs to ann at ghcr\.io"):
            editing.save_account(Account.objects.get(), changes=changes)
    assert registry_logins.login_for(Account.objects.get(), IMAGE) == registry_logins.login_for(
        row, IMAGE
    )


def test_a_login_without_a_host_and_a_user_is_removed(account: Account) -> None:
    with_login(account)
    none = {"registry_host": "", "registry_user": ""}
    editing.save_account(Account.objects.get(), changes=none)
    assert Account.objects.get().sealed_registry_password == ""


def test_a_login_is_compared_with_the_one_of_its_own_account(account: Account) -> None:
    row = with_login(an_account("docker", name="second", enabled=False))
    row.registry_host = "docker.io"
    with pytest.raises(ValidationError, match="give the password again"):
        registry_logins.check(row)
    row.registry_host = row.registry_user = row.sealed_registry_password = ""
    registry_logins.check(row)


def test_the_words_of_a_login_are_checked_where_a_vendor_says_how_they_must_be(
    account: Account,
) -> None:
    row = with_login(account)
    row.enabled = True
    registry_logins.check_words(row, r"[\w-]+", "without odd characters")
    with pytest.raises(ValidationError) as refused:
        registry_logins.check_words(row, r"[a-z]+", "in small letters")
    assert list(refused.value.error_dict) == ["registry_password"]


def test_a_pod_without_an_image_gets_no_login(account: Account) -> None:
    row = with_login(account, registry_host="docker.io")
    assert registry_logins.login_for(row, "you/worker:1") is not None
    assert registry_logins.login_for(row, "") is None
    assert registry_logins.login_for(an_account("docker", name="none"), "you/worker:1") is None


def test_the_output_of_a_machine_has_no_password_of_its_registry(account: Account) -> None:
    with_login(account)
    pod = a_pod(a_fleet(accounts=[account]), image=IMAGE)
    pod.account.refresh_from_db()
    vendor = OneMachine(pod, output=f"docker login -p {PASSWORD}")
    assert machine_logs.logs_of(pod, connect=vendor.connect) == "docker login -p ***"


def test_an_account_on_this_machine_takes_no_login(redis_url: str) -> None:
    with pytest.raises(ValidationError, match="local takes no login at a registry"):
        with_login(an_account(enabled=False))


def account_command(*words: str) -> Any:
    said = io.StringIO()
    call_command("account", *words, "--json", stdout=said)
    return json.loads(said.getvalue())


def test_the_command_reads_the_password_from_standard_input_and_shows_it_nowhere(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    name = account.name
    said = account_command(
        "set", name, "--registry-host", "ghcr.io", "--registry-user", "ann",
        "--registry-password-stdin",
    )  # fmt: skip
    [row] = account_command("list")
    assert (row["registry"], row["registry_user"]) == ("ghcr.io", "ann")
    assert PASSWORD not in json.dumps([said, row])
    assert registry_logins.login_for(Account.objects.get(), IMAGE) is not None
    with pytest.raises(CommandError, match="in two calls"):
        account_command("set", name, "--secret-stdin", "--registry-password-stdin")
    account_command("set", name, "--registry-host", "")
    assert account_command("list")[0]["registry"] is None


def test_the_form_takes_a_login_where_images_are_and_shows_no_password(
    admin_client: Client, rig: Rig, redis_url: str
) -> None:
    add = reverse("admin:pods_account_add")
    sent = {
        "name": "main", "provider": "runpod", "enabled": "on", "orphans": "destroy", "key": KEY,
        "option_base_url": rig.server.url, "registry_host": "ghcr.io", "registry_user": "ann",
    }  # fmt: skip
    refused = html.unescape(admin_client.post(add, sent).content.decode())
    assert "give the password, or an access token, of this user" in refused
    admin_client.post(add, {**sent, "registry_password": PASSWORD})
    row = Account.objects.get()
    page = admin_client.get(page_of(row)).content.decode()
    assert registry_logins.login_for(row, IMAGE) is not None
    assert PASSWORD not in page
    assert row.sealed_registry_password not in page
    kept = {**sent, "key": "", "registry_password": ""}  # an empty field keeps the present one
    admin_client.post(page_of(row), kept)
    assert registry_logins.login_for(Account.objects.get(), IMAGE) is not None
    assert "registry_host" not in admin_client.get(f"{add}?provider=local").content.decode()


def test_a_changed_field_key_is_said_with_what_to_do_and_reseal_changes_it(
    account: Account, settings: Any
) -> None:
    row = with_login(account)
    old = list(settings.FIELD_KEYS)
    settings.FIELD_KEYS = ["new", *old]
    assert resealing.reseal().changed == 1
    settings.FIELD_KEYS = ["new"]
    assert registry_logins.login_for(Account.objects.get(), IMAGE) is not None
    with pytest.raises(sealing.WrongKey, match="--registry-password-stdin"):
        registry_logins.login_for(row, IMAGE)
    assert resealing.lost_secrets() == []
    settings.FIELD_KEYS = ["third"]
    assert resealing.lost_secrets() == [f"registry login of account {account.name}"]


def test_a_pod_whose_login_cannot_be_read_ends_without_a_machine(
    account: Account, settings: Any, redis_url: str
) -> None:
    with_login(account)
    Account.objects.update(enabled=True)
    pod = a_pod(state=REQUESTED, account=account, image=IMAGE)
    settings.FIELD_KEYS = ["another"]

    class Empty:
        name = "docker"
        capabilities = docker.Docker.capabilities

        def list_tagged(self, tag: str) -> list[Any]:
            return []

    spawning.spawn_pod(pod.pk, connect=lambda _: Empty())  # type: ignore[arg-type,return-value]
    ended = Pod.objects.get(pk=pod.pk)
    assert (ended.status, ended.retire_rule) == (FAILED, PodRule.CANNOT_CONNECT.value)
    assert "was encrypted with another key" in ended.because


def test_the_login_and_the_words_of_a_pods_row_are_in_its_order(account: Account) -> None:
    with_login(account)
    command = "python -m 'two words'"
    pod = a_pod(account=Account.objects.get(), image=IMAGE, start_command=command)
    spec = connecting.spec(pod, redis_url="redis://x")
    assert spec.registry_login is not None
    assert spec.args == ["python", "-m", "two words"]
    assert PASSWORD not in repr(spec)
    assert PASSWORD not in json.dumps(dict(spec.env))
    pod.agent["bundle"] = "ab" * 32
    assert connecting.spec(pod, redis_url="redis://x").args == ()
