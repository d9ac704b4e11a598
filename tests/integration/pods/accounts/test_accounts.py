"""An account's key is tried with a real call before it is saved, stored encrypted, never shown."""

import io
import json
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.serializers import serialize
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from pods.accounts import connecting, surveying
from pods.base import clock, sealing
from pods.models import Account
from pods.providers import registry
from pods.providers.errors import ProviderError
from tests.support.factories import NOON, an_account, hours
from tests.support.rigs.runpod_rig import KEY, Rig

pytestmark = pytest.mark.django_db
LATER = NOON + hours(1)
MARKS = ["● Working", "○ Not", "▲ Failing", "✖ Paused", "‖ Not"]  # how a state begins on the page


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def type_in(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return type_in


def account(*words: str) -> Any:
    said = io.StringIO()
    call_command("account", *words, "--json", stdout=said)
    return json.loads(said.getvalue())


def options(rig: Rig) -> str:
    return json.dumps({"base_url": rig.server.url})


def test_a_key_from_standard_input_is_tried_then_stored_encrypted_and_used(
    rig: Rig, typed: Any, redis_url: str
) -> None:
    typed(f"{KEY}\n")
    rig.emulator.keys = {KEY}
    said = account(
        "set", "main", "--provider", "runpod", "--secret-stdin", "--options", options(rig)
    )
    row = Account.objects.get()
    assert said["good"]
    assert said["offers"] == len(row.offers) > 0
    assert row.sealed_secret.startswith("v1:")
    assert connecting.secret_of(row) == KEY
    assert connecting.connect(row).list_tagged("pf") == []
    everything = [
        repr(row), str(row), json.dumps(said), serialize("json", [row]), json.dumps(account("list")),
        repr(connecting.connect(row)), repr(vars(row)),
    ]  # fmt: skip
    assert [text for text in everything if KEY in text] == []
    assert account("check", "main")["good"]


def test_a_key_that_the_vendor_refuses_is_not_saved_and_the_message_says_so(
    rig: Rig, typed: Any, redis_url: str
) -> None:
    rig.emulator.keys = {"another"}
    typed(KEY)
    with pytest.raises(CommandError, match="runpod refuses the key that was given") as refused:
        account("add", "main", "--provider", "runpod", "--secret-stdin", "--options", options(rig))
    assert KEY not in str(refused.value)
    assert not Account.objects.exists()


def test_a_refused_key_is_answered_without_lines_of_the_log(
    rig: Rig,
    typed: Any,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig.emulator.keys = {"another"}
    typed(KEY)
    with pytest.raises(CommandError):
        account("add", "main", "--provider", "runpod", "--secret-stdin", "--options", options(rig))
    assert "provider_failed" not in caplog.text
    monkeypatch.setenv("THE_KEY", KEY)
    connected = an_account("runpod", secret_ref="env:THE_KEY", options={"base_url": rig.server.url})
    with pytest.raises(ProviderError):  # the manager's own calls are still logged
        connecting.connect(connected).list_tagged("pf")
    assert "provider_failed" in caplog.text


@pytest.mark.parametrize(
    ("facts", "health", "shown"),
    [
        ({"surveyed_at": NOON}, "well", "● Working"),
        ({}, "not surveyed yet", "○ Not tested yet"),
        (
            {"surveyed_at": NOON, "failures": 1, "last_error": "no answer"},
            "failing: no answer",
            "▲ Failing: no answer",
        ),
        (
            {"failures": 3, "open_until": LATER, "last_error": "no answer"},
            "left alone: no answer",
            f"✖ Paused until {LATER:%H:%M}: no answer",
        ),
        ({"enabled": False, "failures": 3, "open_until": LATER}, "disabled", "‖ Not in use"),
    ],
)
def test_only_an_account_that_answers_is_well(
    facts: dict[str, Any], health: str, shown: str, redis_url: str, admin_client: Client
) -> None:
    made = an_account("runpod", **facts)
    Account.objects.update(surveyed_at=facts.get("surveyed_at"))
    with clock.use(lambda: NOON):
        (row,) = account("list")
        page = admin_client.get(reverse("admin:pods_account_changelist")).content.decode()
    assert (row["name"], row["health"]) == (made.name, health)
    text = " ".join(strip_tags(page).split())
    assert [m for m in MARKS if m in text] == [m for m in MARKS if shown.startswith(m)]
    assert shown in text


def test_a_refused_new_key_leaves_the_old_key_in_place(
    rig: Rig, typed: Any, redis_url: str
) -> None:
    rig.emulator.keys = {KEY}
    typed(KEY)
    account("add", "main", "--provider", "runpod", "--secret-stdin", "--options", options(rig))
    typed("a typing mistake")
    with pytest.raises(CommandError, match="nothing was changed"):
        account("set", "main", "--secret-stdin")
    assert connecting.secret_of(Account.objects.get()) == KEY


def test_a_reference_replaces_a_stored_key(
    rig: Rig, typed: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    typed("any")
    account("add", "main", "--provider", "runpod", "--secret-stdin", "--options", options(rig))
    account("set", "main", "--secret-ref", "env:THE_KEY")
    row = Account.objects.get()
    assert (row.sealed_secret, connecting.secret_of(row)) == ("", KEY)
    with pytest.raises(CommandError, match="env:NOWHERE is empty"):
        account("set", "main", "--secret-ref", "env:NOWHERE")


def test_a_key_is_stored_with_a_message_if_the_vendor_cannot_be_asked(
    typed: Any, redis_url: str
) -> None:
    typed(KEY)
    nobody = json.dumps({"base_url": "http://127.0.0.1:9"})
    said = account("add", "main", "--provider", "runpod", "--secret-stdin", "--options", nobody)
    assert said["good"] is None
    assert "cannot be asked now" in said["says"]
    assert connecting.secret_of(Account.objects.get()) == KEY


def test_the_first_key_encrypts_and_all_decrypt(settings: Any) -> None:
    settings.FIELD_KEYS = ("old",)
    before = sealing.seal(KEY)
    settings.FIELD_KEYS = ("new", "old")
    after = sealing.seal(KEY)
    assert sealing.unseal(before) == sealing.unseal(after) == KEY
    settings.FIELD_KEYS = ("new",)
    assert sealing.unseal(after) == KEY
    with pytest.raises(sealing.WrongKey, match="PODFLEET_FIELD_KEYS"):
        sealing.unseal(before)


@pytest.mark.parametrize("stored", ["", "plain text", "v1:", "v1:plain text", "v2:x"])
def test_a_text_that_we_did_not_seal_is_never_used_as_a_key(stored: str) -> None:
    with pytest.raises(sealing.WrongKey):
        sealing.unseal(stored)
    with pytest.raises(sealing.WrongKey):
        sealing.unseal(sealing.seal(KEY).removeprefix("v1:"))


def test_an_account_whose_field_key_is_lost_is_left_alone_and_nothing_else_breaks(
    settings: Any,
) -> None:
    settings.FIELD_KEYS = ("old",)
    row = an_account("runpod", name="main", sealed_secret=sealing.seal(KEY))
    settings.FIELD_KEYS = ("new",)
    assert Account.objects.get() == row
    with pytest.raises(connecting.BadSecret, match=r"account main: .*another key"):
        connecting.connect(row)


@pytest.mark.parametrize(
    ("provider", "values", "says"),
    [
        ("runpd", {}, "no provider 'runpd'; known: "),
        ("local", {"options": {"roof": "/x"}}, "local: unknown option 'roof'; use "),
        ("runpod", {"secret_ref": "env:NO_SUCH_KEY"}, "env:NO_SUCH_KEY is empty"),
    ],
)
def test_an_account_that_cannot_be_used_raises_one_kind_of_error(
    provider: str, values: dict[str, Any], says: str
) -> None:
    row = an_account(provider, name="main", **values)
    with pytest.raises(connecting.CannotConnect, match=says):
        connecting.connect(row)
    assert surveying.survey_account(row) == 0
    assert says in row.last_error


def test_an_adapter_that_breaks_while_it_is_made_is_an_account_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError(KEY)

    monkeypatch.setattr(registry, "create_provider", broken)
    says = "the adapter local raised KeyError; see the log$"  # the text may hold the key
    with pytest.raises(connecting.CannotConnect, match=says):
        connecting.connect(an_account("local", name="main"))
