"""The form of an account: fields for its provider's options, and a key that is never shown."""

import html
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import localtime

from fleet.models import Balance
from pods.accounts import connecting
from pods.base.clock import utcnow
from pods.models import Account
from pods.providers import registry
from pods.states import READY, TERMINATED
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.rigs.runpod_rig import KEY, Rig

pytestmark = pytest.mark.django_db
ADD = "admin:pods_account_add"


@pytest.fixture
def root(admin_client: Client, redis_url: str) -> Client:
    return admin_client


def given(rig: Rig, **values: Any) -> dict[str, Any]:
    """What a browser sends from the form of a new account at the emulated RunPod."""
    sent = {
        "name": "main", "provider": "runpod", "enabled": "on", "orphans": "destroy", "key": KEY,
        "option_base_url": rig.server.url,
    }  # fmt: skip
    return {**sent, **values}


def errors_of(answer: Any) -> str:
    form = answer.context["adminform"].form
    return html.unescape(" ".join(text for texts in form.errors.values() for text in texts))


def test_a_key_that_is_typed_is_tried_sealed_and_never_shown(root: Client, rig: Rig) -> None:
    rig.emulator.keys = {KEY}
    answer = root.post(reverse(ADD), given(rig, key=f" {KEY}\n"), follow=True)
    said = html.unescape(answer.content.decode())
    assert re.search(
        r"main is saved\. RunPod accepts the key\. \$[\d.]+ left\. \d+ GPU offers from \$[\d.]+/h\.",
        said,
    )
    account = Account.objects.get()
    assert account.sealed_secret.startswith("v1:")
    assert connecting.secret_of(account) == KEY
    page = root.get(page_of(account)).content.decode()
    assert "stored, encrypted; it is never shown" in page
    assert "Replace key" in page
    assert KEY not in page
    assert re.search(r'<input type="password" name="key"(?! value)[^>]*>', page)


def test_a_refused_key_saves_nothing_and_is_not_written_back_into_the_page(
    root: Client, rig: Rig
) -> None:
    rig.emulator.keys = {"another"}
    answer = root.post(reverse(ADD), given(rig))
    assert "runpod refuses the key" in errors_of(answer)
    assert KEY not in answer.content.decode()
    assert not Account.objects.exists()


def test_a_refused_page_shows_where_the_present_key_is(root: Client, rig: Rig) -> None:
    rig.emulator.keys = {KEY}
    root.post(reverse(ADD), given(rig))
    account = Account.objects.get()
    answer = root.post(page_of(account), given(rig, key="", secret_ref="env:NOPE"))
    assert "nothing was changed" in errors_of(answer)
    shown = answer.content.decode()
    assert "stored, encrypted; it is never shown" in shown
    assert "read from env:NOPE" not in shown


def test_a_new_key_replaces_the_present_one_and_an_empty_field_keeps_it(
    root: Client, rig: Rig
) -> None:
    rig.emulator.keys = {KEY, "second"}
    root.post(reverse(ADD), given(rig))
    account = Account.objects.get()
    sent = fields_of(account)
    assert sent["key"] == ""
    root.post(page_of(account), {**sent, "option_volume_gb": "20"})
    account.refresh_from_db()
    assert connecting.secret_of(account) == KEY
    assert account.options == {"base_url": rig.server.url, "volume_gb": 20}
    root.post(page_of(account), {**sent, "key": "second"})
    account.refresh_from_db()
    assert connecting.secret_of(account) == "second"
    assert "volume_gb" not in account.options  # it was left empty


def test_a_key_replaces_a_reference_but_not_both_are_given(
    root: Client, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    rig.emulator.keys = {KEY, "second"}
    both = root.post(reverse(ADD), given(rig, secret_ref="env:THE_KEY"))
    assert "not both" in errors_of(both)
    root.post(reverse(ADD), given(rig, key="", secret_ref="env:THE_KEY"))
    account = Account.objects.get()
    assert (account.secret_ref, account.sealed_secret) == ("env:THE_KEY", "")
    root.post(page_of(account), {**fields_of(account), "key": "second"})
    account.refresh_from_db()
    assert (account.secret_ref, connecting.secret_of(account)) == ("", "second")


@pytest.mark.parametrize("provider", sorted(registry.BUILT_IN))
def test_every_option_of_a_provider_has_a_field_with_its_default_and_its_help(
    root: Client, provider: str
) -> None:
    answer = root.get(reverse(ADD), {"provider": provider})
    page, form = html.unescape(answer.content.decode()), answer.context["adminform"].form
    options = registry.option_fields_of(provider)
    assert options
    for option in options:
        assert f'name="option_{option.name}"' in page
        assert option.text
        assert option.text in page
        assert form.fields[f"option_{option.name}"].label == option.label
        assert option.label in page
        assert "_" not in option.label
        assert option.label[0].isupper()
        assert not re.search(r"\b[a-z]+_[a-z_]+\b", option.text), option.text
        if option.default not in {None, "", ()}:
            assert "Default: " in page
    assert 'name="options"' not in page
    assert re.search(rf'<select name="provider".*?<option value="{provider}"', page, re.DOTALL)
    assert "The form has the options of this provider" in page


def test_the_page_of_a_new_account_first_asks_for_the_provider(root: Client) -> None:
    page = root.get(reverse(ADD)).content.decode()
    for name in registry.names():
        assert f'href="?provider={name}"' in page
    assert "Hosts with a Docker engine" in page
    assert a_user("operator").get(reverse(ADD)).status_code == 403


@pytest.mark.parametrize(
    ("option", "typed", "said"),
    [
        ("capacity", "many", "give a whole number"),
        ("capacity", "9" * 5000, "give a whole number"),
        ("hourly_usd", "NaN", "give a number such as 0.5"),
    ],
)
def test_a_wrong_number_is_refused_at_its_option(
    root: Client, option: str, typed: str, said: str
) -> None:
    sent = {"name": "here", "provider": "local", "enabled": "on", "orphans": "destroy"}
    answer = root.post(reverse(ADD), {**sent, f"option_{option}": typed})
    (error,) = answer.context["adminform"].form.errors[f"option_{option}"]
    assert error == f"{said}, or leave it empty for the default"
    assert f'<a href="#id_option_{option}">' in answer.content.decode()
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("option", "typed", "said"),
    [
        ("capacity", "-1", "Most pods at once is -1; give"),
        ("root", "here", "Folder of its machines is 'here'; give the full path"),
    ],
)
def test_a_wrong_option_is_refused_in_our_words(
    root: Client, option: str, typed: str, said: str
) -> None:
    sent = {"name": "here", "provider": "local", "enabled": "on", "orphans": "destroy"}
    answer = root.post(reverse(ADD), {**sent, f"option_{option}": typed})
    assert said in errors_of(answer)
    assert f'<a href="#id_option_{option}">' in answer.content.decode()
    assert not Account.objects.exists()


def test_options_are_stored_as_the_command_line_stores_them(root: Client) -> None:
    sent = {
        "name": "host", "provider": "docker", "orphans": "destroy",  # disabled: it is not tried
        "option_capacity": "2", "option_hourly_usd": "0.40", "option_binds": "/a:/b\n\n /c:/d:ro ",
    }  # fmt: skip
    root.post(reverse(ADD), sent)
    account = Account.objects.get()
    assert account.options == {"capacity": 2, "hourly_usd": "0.40", "binds": ["/a:/b", "/c:/d:ro"]}
    again = fields_of(account)
    assert again["option_binds"] == "/a:/b\n/c:/d:ro"
    root.post(page_of(account), again)
    account.refresh_from_db()
    assert account.options == {"capacity": 2, "hourly_usd": "0.40", "binds": ["/a:/b", "/c:/d:ro"]}


def test_yes_and_no_are_stored_as_such(root: Client) -> None:
    sent = {"name": "vast", "provider": "vastai", "orphans": "destroy"}
    root.post(reverse(ADD), {**sent, "option_verified": "no"})
    account = Account.objects.get()
    assert account.options == {"verified": False}
    assert fields_of(account)["option_verified"] == "no"


def test_the_key_can_be_checked_now(root: Client, rig: Rig) -> None:
    rig.emulator.keys = {KEY}
    root.post(reverse(ADD), given(rig))
    account = Account.objects.get()
    assert 'value="check_key"' in root.get(page_of(account)).content.decode()
    check = {"action": "check_key", "_selected_action": [account.pk]}
    accounts = reverse("admin:pods_account_changelist")
    assert "RunPod accepts the key" in root.post(accounts, check, follow=True).content.decode()
    rig.emulator.keys = set({"another"})
    assert "runpod refuses the key" in root.post(accounts, check, follow=True).content.decode()


def test_a_viewer_sees_the_options_and_neither_key_field_nor_buttons(root: Client) -> None:
    options = {"volume_gb": 20, "base_url": "https://ann:hunter2@proxy"}
    account = an_account("runpod", options=options, sealed_secret="v1:sealed")
    page = a_user("viewer").get(page_of(account)).content.decode()
    assert "volume_gb" in page
    assert 'name="key"' not in page
    assert "v1:sealed" not in page
    assert "hunter2" not in page
    assert 'value="check_key"' not in page


def test_the_list_and_the_page_say_whether_an_account_works_and_until_when_it_is_paused(
    root: Client,
) -> None:
    paused = an_account(
        "runpod", name="paused", failures=5, open_until=utcnow() + timedelta(hours=1),
        last_error="RunPod says no",
    )  # fmt: skip
    until = f"{localtime(paused.open_until):%H:%M}"
    an_account("runpod", name="well", surveyed_at=utcnow())
    an_account("runpod", name="new", surveyed_at=None)
    page = html.unescape(root.get(reverse("admin:pods_account_changelist")).content.decode())
    assert f"</span> Paused until {until}: RunPod says no" in page
    assert "</span> Working" in page
    assert "</span> Not tested yet" in page
    page = html.unescape(root.get(page_of(paused)).content.decode())
    assert f"</span> Paused until {until}: RunPod says no" in page
    assert "Test and save" in page
    viewer = html.unescape(a_user("viewer").get(page_of(paused)).content.decode())
    assert "Test and save" not in viewer
    assert "Test now" not in viewer


def test_the_list_says_what_is_left_and_how_long_it_lasts(
    root: Client, django_assert_max_num_queries: Any
) -> None:
    account = an_account("runpod", name="main")
    for usd in ("80", "76"):
        Balance.objects.create(account=account, at=utcnow(), usd=Decimal(usd), booked_micros=0)
    fleet = a_fleet(accounts=[account])
    for state in (READY, READY, TERMINATED):
        a_pod(fleet, state, account=account, hourly_usd=Decimal(1))
    accounts = reverse("admin:pods_account_changelist")
    root.get(accounts)
    with django_assert_max_num_queries(10):
        page = root.get(accounts).content.decode()
    assert "$76.00, lasts 1 d 14 h" in page
    assert "$76.00, lasts 1 d 14 h" in root.get(page_of(account)).content.decode()


def test_a_form_that_is_refused_says_so_once_with_a_link_to_the_field(root: Client) -> None:
    page = html.unescape(
        root.post(reverse(ADD), {"provider": "runpod", "name": ""}).content.decode()
    )
    assert '<a href="#id_name">Name</a> is empty; give a value' in page
