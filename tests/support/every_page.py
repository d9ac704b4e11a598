"""Every page of the admin, found in its addresses, with rows that make each page show something."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from fleet import operating
from fleet.alerts import delivering
from fleet.models import Channel, Fleet, Limits, Override
from fleet.tick import ticking
from pods.base.clock import utcnow
from pods.base.redis import make_consumer_group, redis_client
from pods.models import Account, Orphan
from pods.states import BOOTING, FAILED, LOST, READY, TERMINATED, PodState
from tests.support.factories import a_batch, a_fleet, a_pod, an_account, an_alert

admin.autodiscover()  # the addresses do it in a server
STREAM: Final = "captions"
VALUE: Final = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)|\(\[\^/\]\+\)")
# Rows of these are found in the database; other packages' rows need not exist.
MODELS: Final = {"fleet_id": "fleet.Fleet", "pod_id": "pods.Pod", "alert_id": "fleet.Alert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The rows that the pages show."""

    fleet: Fleet
    failing: Fleet
    account: Account


def rows_for_every_page(redis_url: str) -> Shown:
    """Make rows of each kind: fleets in calm and in trouble, pods in most states, failed items."""
    now = utcnow()
    account = an_account("runpod", name="runpod-main", options={"volume_gb": 20})
    fleet = a_fleet(
        name="embed-captions", stream=STREAM, group=STREAM, accounts=[account], max_instances=3,
        max_hourly_usd="4", daily_budget_usd="60", image="registry.example/worker:1",
    )  # fmt: skip
    failing = a_fleet(name="broken-handler", stream="broken")
    a_fleet(name="whisper-2025", stream="whisper", archived_at=now, mode="paused")
    a_fleet(name="paused", stream="paused", mode="paused")
    _pods(fleet, (READY, READY, BOOTING, TERMINATED))
    _pods(failing, (FAILED, FAILED, LOST, READY))
    some_failed_items(redis_url)
    operating.edit(fleet, {"max_instances": 4}, by="ann")
    for each in (fleet, failing):
        ticking.tick_fleet(each.pk)
    an_alert(fleet, subject="pod:1")
    an_alert(fleet, cause="dead_letters", subject=f"fleet:{fleet.pk}", text="3 items failed")
    an_alert(failing, cause="boots_fail", subject=f"fleet:{failing.pk}", severity="critical")
    an_alert(failing, cause="backlog_grows", subject=f"fleet:{failing.pk}", resolved_at=now)
    until = now + timedelta(hours=1)
    Override.objects.create(fleet=fleet, pods=1, until=until, by="ann", because="a test of mine")
    delivering.write_channel(Channel(name="pager"), "jsons://alerts.example/x")
    Orphan.objects.create(
        account=account, external_id="m-1", name="pf-1", first_seen_at=now, last_seen_at=now
    )
    a_batch(fleet)
    Limits.made()
    return Shown(fleet=fleet, failing=failing, account=account)


def _pods(fleet: Fleet, states: tuple[PodState, ...]) -> None:
    now = utcnow()
    for number, state in enumerate(states):
        over = {"ended_at": now} if state in {FAILED, LOST, TERMINATED} else {}
        a_pod(
            fleet, state, requested_at=now - timedelta(minutes=30 + number), gpu_type="RTX 4090",
            gpu_count=1, hourly_usd=Decimal("0.39"), because="its handler cannot be loaded", **over,
        )  # fmt: skip


def some_failed_items(redis_url: str, count: int = 3) -> None:
    """Put items onto the stream of failed items, with the errors of their last try."""
    client = redis_client(redis_url)
    make_consumer_group(client, STREAM, STREAM)
    for n in range(count):
        client.xadd(
            f"{STREAM}:dead",
            {
                "payload": f"https://images.example/{n}", "id": f"image-{n}",
                "dead_error": f"ValueError: image {n} has 0 bytes", "dead_deliveries": "5",
                "dead_traceback": 'File "/srv/captions.py", line 3, in caption',
                "dead_pod": "pf-ab12cd-1-7f3a21", "dead_at_ms": "1795473132695",
            },
        )  # fmt: skip


def pages(client: Client) -> dict[str, str]:
    """The address of each page that this client may open, by a name for people.

    What answers with another status, or with something other than a whole page, is left out.
    """
    found = {}
    for address in sorted(set(addresses())):
        answer = client.get(address)
        kind = answer.headers.get("Content-Type", "")
        if answer.status_code == 200 and kind.startswith("text/html"):
            content = b"".join(answer) if answer.streaming else answer.content
            if b"<html" in content:
                found[address.removeprefix("/admin/") or "first page"] = address
    return found


def addresses() -> Iterator[str]:
    """The address of everything below /admin/ that has rows to show."""
    for name, path in _paths(get_resolver()):
        if path.startswith("admin/") and (filled := _filled(name, path)) is not None:
            yield f"/{filled}"


def _paths(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, str]]:
    for each in resolver.url_patterns:
        path = before + str(each.pattern).removeprefix("^").removesuffix("$")
        if isinstance(each, URLPattern):
            yield each.name or "", path
        else:
            yield from _paths(each, path)


def _filled(name: str, path: str) -> str | None:
    """The path with the keys of rows; None if a row is missing, or a value is not known."""
    if not VALUE.search(path):
        return path
    values = _values(name)
    if values is None:
        return None
    unnamed = iter((values.get("object_id"), values.get("history_id")))

    def value(match: re.Match[str]) -> str:
        known = match[1] or match[2]
        return str(values.get(known, 1) if known else next(unnamed))

    return VALUE.sub(value, path)


def _values(name: str) -> Mapping[str, Any] | None:
    """What an address with this name may have in it; a value that nobody named is 1."""
    values: dict[str, Any] = {key: _first(apps.get_model(model)) for key, model in MODELS.items()}
    values |= {"app_label": "fleet", "content_type_id": 1, "object_id": 1}
    model = _model(name)
    if model is not None:
        if (key := _first(model)) is None:
            return None
        values |= {"object_id": key, "id": key}
        if hasattr(model, "history"):
            values["history_id"] = model.history.filter(id=key).earliest().pk
        return values
    return values if name else None  # without a name: the admin's own redirects


def _model(name: str) -> type[Model] | None:
    for model in admin.site._registry:
        if name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_"):
            return model
    return None


def _first(model: type[Model]) -> Any:
    row = model._default_manager.order_by("pk").first()
    return None if row is None else row.pk


def a_browser_of(name: str) -> Client:
    """A client in which this user is logged in."""
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client
