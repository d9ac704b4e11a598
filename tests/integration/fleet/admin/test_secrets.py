"""No page, list, export or former version shows a secret to somebody who may only look."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.db import models
from django.test import Client, RequestFactory
from django.urls import URLPattern, reverse

from fleet import operating
from fleet.alerts import delivering
from fleet.models import Channel, Fleet, Limits, Override, Tick
from fleet.tick import ticking
from pods.agent_redis import redis_users
from pods.base.clock import utcnow
from pods.models import Account, Orphan, Pod
from pods.states import READY
from tests.support.admin_pages import a_user, fields_of
from tests.support.factories import a_batch, a_fleet, a_pod, an_account, an_alert, hours

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
PLANTED = "hunter2"
ADDRESS = f"redis://pod:{PLANTED}-redis@127.0.0.1:1/0"
OF_A_VALUE = re.compile(r"<[^>]*>|\(\[\^/\]\+\)|\(\?P<\w+>[^)]*\)")
# The columns that no list, filter, search, order or export may use.
HIDDEN = {"backlog_url", "redis_url", "handler_env", "sealed_secret", "sealed_url", "password"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Rows with a secret in each column that may have one."""

    fleet: Fleet
    pod: Pod
    account: Account
    secrets: list[str]


@pytest.fixture
def planted() -> Planted:
    options = {"host": f"tcp://u:{PLANTED}-option@10.0.0.1", "api_key": f"{PLANTED}-key"}
    account = an_account(name="boxes", options=options, sealed_secret=f"{PLANTED}-sealed")
    variables = {"HF_TOKEN": f"{PLANTED}-variable"}
    fleet = a_fleet(name="emb", backlog_url=ADDRESS, handler_env=variables, accounts=[account])
    other = f"redis://:{PLANTED}-former@127.0.0.1:1/0"
    operating.edit(
        fleet, {"backlog_url": other, "handler_env": {"A": f"{PLANTED}-first"}}, by="ann"
    )
    operating.edit(fleet, {"backlog_url": ADDRESS, "handler_env": variables}, by="ann")
    pod = a_pod(fleet, READY, redis_url=ADDRESS, handler_env=variables)
    delivering.write_channel(Channel(name="pager"), f"jsons://ann:{PLANTED}-hook@alerts.example/x")
    Override.objects.create(fleet=fleet, pods=1, until=utcnow() + hours(1), by="ann", because="x")
    Orphan.objects.create(
        account=account, external_id="m", name="m", first_seen_at=utcnow(), last_seen_at=utcnow()
    )
    Limits.made()
    an_alert(fleet)
    a_batch(fleet, metadata={"note": f"{PLANTED}-of-a-client"})
    secrets = [PLANTED, *redis_users._passwords(pod), Channel.objects.get().sealed_url]
    return Planted(fleet=fleet, pod=pod, account=account, secrets=secrets)


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


def shown(planted: Planted, answer: Any) -> list[str]:
    """The planted secrets that a page shows."""
    body = b"".join(answer) if answer.streaming else answer.content
    text = body.decode()
    return [secret for secret in planted.secrets if secret in text]


def addresses() -> Iterator[str]:
    """Every page of the admin with the first row of its model, and the pages beside it."""
    for model, model_admin in admin.site._registry.items():
        row = model._default_manager.order_by("pk").first()
        history = getattr(model, "history", None)
        versions = [] if history is None or row is None else history.filter(pk__gte=0)
        base = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for pattern in model_admin.get_urls():
            if not isinstance(pattern, URLPattern):
                continue
            path = str(pattern.pattern).removeprefix("^").removesuffix("$")
            known = [str(row.pk if row else 1)]
            for version in versions or [None]:
                values = iter([*known, str(getattr(version, "history_id", 1))])
                yield base + OF_A_VALUE.sub(lambda _: next(values), path)  # noqa: B023
    yield from (reverse(name) for name in ("admin:index", "dashboard-now", "dashboard-chart"))
    yield from (reverse("money"), reverse("fleet-next", args=[Fleet.objects.get().pk]))


@pytest.mark.takes(10)
def test_no_page_of_the_admin_shows_a_viewer_a_secret(
    planted: Planted, viewer: Client, redis_url: str
) -> None:
    ticking.tick_fleet(planted.fleet.pk)  # a decision that could not read the backlog
    assert Tick.objects.exists()
    opened = set()
    for address in sorted(set(addresses())):
        answer = viewer.get(address)
        assert answer.status_code in {200, 302, 403, 404, 405}, address
        assert not shown(planted, answer), address
        if answer.status_code == 200:
            opened.add(address)
    expected = {
        f"/admin/fleet/fleet/{planted.fleet.pk}/change/",
        f"/admin/fleet/fleet/{planted.fleet.pk}/history/",
        *(
            f"/admin/fleet/fleet/{planted.fleet.pk}/history/{version.history_id}/"
            for version in planted.fleet.history.all()
        ),
        f"/admin/pods/pod/{planted.pod.pk}/change/",
        f"/admin/pods/account/{planted.account.pk}/change/",
        f"/admin/fleet/channel/{Channel.objects.get().pk}/change/",
        "/admin/money/",
    }
    assert expected <= opened


def test_a_viewer_sees_where_the_backlog_is_and_which_variables_a_handler_gets(
    planted: Planted, viewer: Client
) -> None:
    page = viewer.get(reverse("admin:fleet_fleet_change", args=[planted.fleet.pk])).content.decode()
    assert "redis://***@127.0.0.1:1/0" in page
    assert "HF_TOKEN" in page


def test_an_operator_sees_the_address_that_the_form_edits(planted: Planted) -> None:
    page = a_user("operator").get(reverse("admin:fleet_fleet_change", args=[planted.fleet.pk]))
    assert ADDRESS in page.content.decode()


def test_the_history_says_that_an_address_changed_and_not_which_password_it_had(
    planted: Planted,
) -> None:
    address = reverse("admin:fleet_fleet_history", args=[planted.fleet.pk])
    for role in ("viewer", "operator"):
        answer = a_user(role).get(address)
        assert not shown(planted, answer)
        assert "Backlog url" in answer.content.decode()


def test_a_viewer_cannot_restore_a_former_version(planted: Planted, viewer: Client) -> None:
    first = planted.fleet.history.earliest()
    address = reverse("admin:fleet_fleet_simple_history", args=[planted.fleet.pk, first.history_id])
    operator = a_user("operator")
    sent = {**fields_of(planted.fleet, user="operator"), "max_instances": "7"}
    assert viewer.post(address, sent).status_code == 403
    planted.fleet.refresh_from_db()
    assert planted.fleet.max_instances == 1
    assert operator.post(address, sent).status_code == 302
    planted.fleet.refresh_from_db()
    assert planted.fleet.max_instances == 7


@pytest.mark.parametrize(
    ("page", "question"),
    [
        ("fleet_fleet", "backlog_url"),
        ("fleet_fleet", "handler_env"),
        ("fleet_fleet", "accounts__sealed_secret"),
        ("pods_pod", "redis_url"),
        ("pods_pod", "client_token"),
        ("pods_pod", "handler_env"),
        ("pods_pod", "fleet__backlog_url"),
        ("pods_pod", "account__sealed_secret"),
        ("pods_account", "sealed_secret"),
        ("pods_account", "options"),
        ("pods_podevent", "pod__redis_url"),
        ("pods_orphan", "account__sealed_secret"),
        ("fleet_tick", "fleet__backlog_url"),
        ("fleet_alert", "fleet__backlog_url"),
        ("fleet_override", "fleet__backlog_url"),
        ("fleet_channel", "sealed_url"),
    ],
)
def test_a_list_does_not_say_how_a_secret_begins(
    planted: Planted, viewer: Client, page: str, question: str
) -> None:
    address = reverse(f"admin:{page}_changelist")
    assert viewer.get(address).status_code == 200
    for ending in ("startswith", "contains", "regex", "gte", "exact", "in", "isnull", "len"):
        answer = viewer.get(address, {f"{question}__{ending}": "redis", "billing": "all"})
        assert answer.status_code == 400
    assert viewer.get(address, {question: ADDRESS}).status_code == 400


def test_every_list_of_the_admin_answers_its_own_filters_alone() -> None:
    request = RequestFactory().get("/")
    for model, model_admin in admin.site._registry.items():
        own = {f if isinstance(f, str) else "" for f in model_admin.list_filter}
        for column in model._meta.get_fields():
            names = [column.name]
            if isinstance(column, models.ForeignKey):
                others = column.related_model._meta.get_fields()
                names += [f"{column.name}__{other.name}" for other in others]
            for name in names:
                for ending in ("startswith", "contains", "regex", "gt", "lt", "range"):
                    dates = name in own and ending == "lt"
                    allowed = model_admin.lookup_allowed(f"{name}__{ending}", "x", request)
                    assert allowed is dates, f"{model.__name__}: {name}__{ending}"


def test_no_list_shows_searches_orders_or_exports_a_column_with_a_secret() -> None:
    for model, model_admin in admin.site._registry.items():
        columns = {f.name for f in model._meta.concrete_fields}
        used = [*model_admin.list_display, *model_admin.list_filter, *model_admin.search_fields]
        used += [*(model_admin.ordering or ()), *(model._meta.ordering or ())]
        used += model_admin._columns() if hasattr(model_admin, "_columns") else ()
        for shown_name in list(model_admin.list_display):
            of = getattr(model_admin, str(shown_name), None)
            used.append(getattr(of, "admin_order_field", None) or "")
        last_parts = {str(name).lstrip("-^=@").rpartition("__")[2] for name in used}
        assert not last_parts & HIDDEN, model.__name__
        # A page masks each of its own columns that may hold an address or a variable.
        masked = getattr(model_admin, "masked", {"password"})
        assert columns & HIDDEN & _fields_of_page(model_admin) <= set(masked), model.__name__


def _fields_of_page(model_admin: Any) -> set[str]:
    fieldsets = model_admin.fieldsets or ((None, {"fields": model_admin.fields or ()}),)
    return {
        name
        for _, how in fieldsets
        for row in how["fields"]
        for name in ([row] if isinstance(row, str) else row)
    }


def test_no_export_holds_a_secret(planted: Planted, viewer: Client) -> None:
    ticking.tick_fleet(planted.fleet.pk)
    for model, model_admin in admin.site._registry.items():
        if not hasattr(model_admin, "as_csv"):
            continue
        keys = list(model._default_manager.values_list("pk", flat=True))
        assert keys, model.__name__
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for name in ("as_csv", "as_json"):
            sent = {"action": name, "_selected_action": keys}
            answer = viewer.post(address, sent)
            assert answer.streaming
            assert not shown(planted, answer), (model.__name__, name)


@pytest.mark.parametrize(
    "command",
    [
        ("fleet", "show", "emb", "--json"),
        ("fleet", "list", "--json"),
        ("fleet", "list"),
        ("fleet", "next", "emb", "--json"),
        ("account", "list", "--json"),
    ],
)
def test_no_command_that_shows_prints_a_secret(
    planted: Planted, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = io.StringIO()
    call_command(*command, stdout=said)
    text = said.getvalue() + capsys.readouterr().out
    if "--json" in command:
        json.loads(text)
    assert text.strip()
    assert not [secret for secret in planted.secrets if secret in text]
