"""The forms of the admin make the same checks and changes as the command line."""

import html
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from redis import Redis

from fleet.models import Channel, Fleet
from pods.models import Account
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, django_user_model: Any, redis_url: str) -> Client:
    client.force_login(django_user_model.objects.create_superuser("root", password="x"))
    return client


def errors_of(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


def test_a_fleet_without_an_image_gets_no_vendors_account(root: Client) -> None:
    fleet, vendor = a_fleet(), an_account("runpod")
    sent: dict[str, Any] = {**fields_of(fleet), "accounts": [vendor.pk]}
    answer = root.post(page_of(fleet), sent)
    assert answer.status_code == 200
    assert "name the image of the pods" in errors_of(answer)["image"][0]
    assert vendor not in fleet.accounts.all()
    assert root.post(page_of(fleet), {**sent, "image": "agent:1"}).status_code == 302
    assert list(fleet.accounts.all()) == [vendor]


def test_a_fleet_cannot_take_over_the_stream_of_another(root: Client) -> None:
    one, two = a_fleet(stream="mine"), a_fleet(stream="yours")
    answer = root.post(page_of(two), {**fields_of(two), "stream": "mine"})
    assert answer.status_code == 200
    assert f"the fleet {one.name} drains the stream mine" in errors_of(answer)["stream"][0]
    two.refresh_from_db()
    assert two.stream == "yours"


def test_the_history_of_an_edit_has_the_fields_and_the_operator(root: Client) -> None:
    fleet = a_fleet()
    sent = {**fields_of(fleet), "max_instances": "7", "spawn_per_tick": "2"}
    assert root.post(page_of(fleet), sent).status_code == 302
    newest = Fleet.history.latest()
    assert newest.history_change_reason == "set Max pods, New pods in one tick by root"
    assert newest.history_user.username == "root"


def test_another_stream_gets_its_consumer_group_from_the_command_line_too(redis_url: str) -> None:
    fleet = a_fleet(name="emb")
    call_command("fleet", "set", "emb", "--stream", "other", stdout=io.StringIO())
    (group,) = Redis.from_url(redis_url).xinfo_groups("other")
    assert group["name"].decode() == fleet.group


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream", '"*"'),
        ("stream", "podfleet:emb:lease"),
        ("results", "podfleet"),
        ("results", "embedding_tasks"),
        ("results", "embedding_tasks:dead"),
        ("reply_to", "pod*"),
    ],
)
def test_a_name_that_gives_pods_other_rights_is_refused_at_its_field(
    root: Client, name: str, value: str
) -> None:
    fleet = a_fleet(name="emb")
    answer = root.post(page_of(fleet), {**fields_of(fleet), name: value})
    assert list(errors_of(answer)) == [name]
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(CommandError, match=name):
        call_command("fleet", "set", "emb", option, value)
    with pytest.raises(CommandError, match=name):
        call_command("fleet", "create", "new", "--handler", "a:b", option, value)
    assert not Fleet.objects.filter(name="new").exists()


def test_an_account_of_an_unknown_provider_is_refused_at_its_field(root: Client) -> None:
    sent = {"name": "main", "provider": "nobody", "enabled": "on", "orphans": "destroy"}
    answer = root.post("/admin/pods/account/add/", sent)
    assert "no provider 'nobody'; known: " in errors_of(answer)["provider"][0]
    assert not Account.objects.exists()


def test_the_form_and_the_command_say_that_local_pods_run_code_as_the_managers_user(
    root: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    page = html.unescape(root.get("/admin/pods/account/add/").content.decode())
    assert "that code runs on this machine as the manager's user" in page
    with pytest.raises(SystemExit):
        call_command("account", "add", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "whoever may edit a fleet runs code here as the manager's user" in said


def test_an_account_with_an_unreadable_key_is_refused_until_it_is_disabled(root: Client) -> None:
    account = an_account("runpod", sealed_secret="v1:a key of a lost installation")
    sent = {**fields_of(account), "secret_ref": "env:NOWHERE"}
    answer = root.post(page_of(account), sent)
    assert "env:NOWHERE is empty" in errors_of(answer)["__all__"][0]
    account.refresh_from_db()
    assert account.secret_ref == ""
    del sent["enabled"]
    assert root.post(page_of(account), sent).status_code == 302
    account.refresh_from_db()
    assert (account.enabled, account.sealed_secret) == (False, "")


def test_the_command_line_can_disable_an_account_with_an_unreadable_key() -> None:
    account = an_account("runpod", name="main", secret_ref="env:NOWHERE")
    with pytest.raises(CommandError, match="env:NOWHERE is empty"):
        call_command("account", "set", "main", "--orphans", "adopt", stdout=io.StringIO())
    said = io.StringIO()
    call_command("account", "set", "main", "--disable", stdout=said)
    assert "its key was not tried" in said.getvalue()
    assert not Account.objects.get(pk=account.pk).enabled


def test_a_channels_name_is_checked_on_the_command_line_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THE_HOOK", "json://93.184.216.34/hook")
    with pytest.raises(CommandError, match="at most 60 characters"):
        call_command("alerts", "add", "n" * 61, "env:THE_HOOK", stdout=io.StringIO())
    assert not Channel.objects.exists()


def test_a_fleet_with_a_wrong_value_can_be_stopped_but_not_run(
    redis_url: str,
) -> None:
    fleet = a_fleet(name="emb", accounts=[an_account("runpod")])  # it has no image
    Fleet.objects.filter(pk=fleet.pk).update(offer_query={"min_vram_gb": "much"})
    for verb, mode in (("pause", "paused"), ("stop-all", "stop_all")):
        call_command("fleet", verb, "emb", stdout=io.StringIO())
        fleet.refresh_from_db()
        assert fleet.mode == mode
    assert Fleet.history.latest().history_change_reason.startswith("set Mode by ")
    with pytest.raises(CommandError, match="name the image of the pods"):
        call_command("fleet", "resume", "emb", stdout=io.StringIO())
    fleet.refresh_from_db()
    assert fleet.mode == "stop_all"


def test_the_admin_stops_a_fleet_with_a_wrong_value_too(root: Client) -> None:
    fleet = a_fleet(accounts=[an_account("runpod")])
    sent = {"action": "stop_everything", "confirmed": "yes", "_selected_action": [fleet.pk]}
    root.post(reverse("admin:fleet_fleet_changelist"), sent)
    fleet.refresh_from_db()
    assert fleet.mode == "stop_all"
