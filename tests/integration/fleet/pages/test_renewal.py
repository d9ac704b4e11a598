"""A renewal answers 204 only if the page would be the same: whatever is shown is in the stamp."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings
from django.db import Error, models, transaction
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from fleet.models import Alert, Fleet, Limits, Sample, Tick
from fleet.pages import renewal
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, PriceSegment
from pods.rules import PodRule
from pods.states import BOOTING, FAILED, READY, STOPPED, TERMINATING
from tests.support.admin_pages import a_user
from tests.support.factories import NOON, a_fleet, a_pod, an_alert, hours, seconds

pytestmark = pytest.mark.django_db
MINUTE: Final = timedelta(minutes=1)
URL: Final = "dashboard-now"
TOKEN: Final = re.compile(r'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')
SEEN: Final = re.compile(r'<input type="hidden" id="pf-seen" name="seen" value="([^"]*)"[^>]*>')


class Reader:
    """A browser that renews its first page, and finds out whether a 204 was right."""

    def __init__(self, client: Client, **asked: str) -> None:
        self.client, self.asked = client, asked
        self.page, self.stamp = self.whole()

    def whole(self) -> tuple[str, str]:
        return self.read(self.client.get(reverse(URL), self.asked))

    def read(self, answer: Any) -> tuple[str, str]:
        """The page without its tokens, and its stamp."""
        text = answer.content.decode()
        [stamp] = SEEN.findall(text)
        return SEEN.sub("", TOKEN.sub("", text)), stamp

    def changes(self) -> bool:
        """Whether the page is another than before; the renewal must say so."""
        answer = self.client.get(reverse(URL), {**self.asked, "seen": self.stamp})
        if answer.status_code == 204:
            assert self.whole() == (self.page, self.stamp), "204, but the page is another"
            return False
        page, stamp = self.read(answer)
        assert stamp != self.stamp
        return page != self.page


def a_tick(fleet: Fleet, **values: Any) -> Tick:
    facts: dict[str, Any] = {
        "at": clock.utcnow() - seconds(5), "token": 1, "depth": 5000, "active": 1, "desired": 5,
        "target": 1, "sentence": "keeps 1 pod", **values,
    }  # fmt: skip
    return Tick.objects.create(fleet=fleet, **facts)


def samples(fleet: Fleet) -> None:
    for n in (4, 9, 14, 19):
        depth = None if n == 9 else 100 * n
        Sample.objects.create(fleet=fleet, at=NOON - n * MINUTE, grain=1, depth=depth, pods=1)


def a_furnished_installation() -> None:
    """Everything that the page can show, as far as it fits together."""
    Limits.get()
    Limits.objects.update(daily_budget_usd=Decimal(50))
    emb = a_fleet(
        name="emb", max_instances=8, max_hourly_usd=Decimal(4), daily_budget_usd=Decimal(2),
        total_budget_usd=Decimal(90), target_depth_per_pod=500,
    )  # fmt: skip
    a_pod(emb, READY, rate=2.0, requested_at=NOON - hours(1))
    a_pod(emb, BOOTING)
    a_pod(emb, STOPPED, stopped_hourly_usd=Decimal("0.1"))
    a_pod(
        emb, FAILED, requested_at=NOON - hours(3), failed_at=NOON - hours(2),
        retire_rule=PodRule.AGENT_FAILED.value, retire_because="no module", because="failed",
    )  # fmt: skip
    a_tick(
        emb, binding="max_instances", held_back="at most 1", spent_today_usd=Decimal(1),
        busy_percent=41.0, gpu_percent=31.0, bottleneck="link", trouble="no module", failing=1,
    )  # fmt: skip
    samples(emb)
    an_alert(emb, first_seen_at=NOON - hours(1))
    stuck = a_fleet(name="stuck")
    stays = a_pod(stuck, TERMINATING)
    Pod.objects.filter(pk=stays.pk).update(attempts=5, state_since=NOON - hours(1))
    a_tick(stuck, depth=0)
    gone = a_fleet(name="gone")
    a_pod(gone, READY)
    Fleet.objects.filter(pk=gone.pk).update(archived_at=NOON - hours(1))
    old = a_fleet(name="old")
    ended = a_pod(old, READY)
    Pod.objects.filter(pk=ended.pk).update(state="terminated", ended_at=NOON)
    PriceSegment.objects.filter(pod=ended).update(since=NOON - hours(1), until=NOON)
    Fleet.objects.filter(pk=old.pk).update(archived_at=NOON - hours(1))
    apart = an_alert(emb, subject="account:1", cause="credentials", text="the key is refused")
    Alert.objects.filter(pk=apart.pk).update(fleet=None)


def others(row: models.Model, field: "models.Field[Any, Any]") -> list[Any]:
    """Other values that this column could have."""
    value = getattr(row, field.attname)
    return [other for other in values_of(field, value) if other != value]


def values_of(field: "models.Field[Any, Any]", value: Any) -> Iterator[Any]:
    """Values that this column could have, among them perhaps its own."""
    if field.null:
        yield None
    if field.choices:
        yield from [key for key, _ in field.flatchoices if key != value][:3]
    elif isinstance(field, models.BooleanField):
        yield from (True, False)
    elif isinstance(field, models.DateTimeField):
        known: datetime = value or NOON
        yield from (known - hours(2), known + hours(2))
    elif isinstance(field, models.CharField | models.TextField):
        yield from (f"{value}-other", "")
    elif isinstance(field, models.FloatField | models.DecimalField | models.IntegerField):
        yield from ((value or 0) * 50 + 7, type(value or 0)(0))


def changed_by(reader: Reader, row: models.Model) -> set[str]:
    """The columns of a row that the page shows. Each change is undone."""
    shown = set()
    for field in row._meta.concrete_fields:
        if field.primary_key or field.is_relation:
            continue
        for value in others(row, field):
            try:
                with transaction.atomic():
                    # Straight into the row: no decision and no event tells of it.
                    type(row)._base_manager.filter(pk=row.pk).update(**{field.attname: value})
                    if reader.changes():
                        shown.add(field.attname)
                    raise _Undo
            except (_Undo, Error):
                continue
    return shown


class _Undo(Exception):
    """Ends a transaction without its changes."""


def row_of(model: Any) -> Any:
    """The row of a furnished installation whose columns are changed."""
    asked: dict[Any, Any] = {
        Fleet: Fleet.objects.filter(name="emb"),
        Tick: Tick.objects.filter(fleet__name="emb"),
        Alert: Alert.objects.filter(fleet__isnull=False),
        Sample: Sample.objects.order_by("-at"),
        PeriodicTask: PeriodicTask.objects.filter(fleet__name="emb"),
        IntervalSchedule: IntervalSchedule.objects.filter(periodictask__fleet__name="emb"),
        PriceSegment: PriceSegment.objects.filter(fleet__name="old"),
    }
    return asked.get(model, model.objects.all())[0]


# What the page shows of each kind of row: if a column here changes nothing, this test is blind.
SHOWN: Final[dict[Any, set[str]]] = {
    Fleet: {
        "name", "mode", "archived_at", "archive_when_empty", "max_instances", "max_hourly_usd",
        "daily_budget_usd", "total_budget_usd", "target_depth_per_pod",
    },
    Tick: {
        "at", "depth", "target", "binding", "sentence", "trouble", "all_fail", "spent_today_usd",
        "busy_percent", "gpu_percent", "bottleneck", "failing",
    },
    Limits: {"mode", "daily_budget_usd"},
    Alert: {
        "text", "severity", "first_seen_at", "acknowledged_at", "snoozed_until", "resolved_at",
        "subject",
    },
    Sample: {"at", "grain", "depth"},
    IntervalSchedule: {"every"},
    PriceSegment: {"hourly_usd", "since", "until"},
}  # fmt: skip


@pytest.mark.one_database
@pytest.mark.takes(20)
@pytest.mark.parametrize("model", [*SHOWN, PeriodicTask], ids=lambda model: model.__name__)
def test_whatever_is_shown_of_a_row_changes_the_stamp(
    model: Any, admin_client: Client, time: SteppedClock
) -> None:
    a_furnished_installation()
    shown = changed_by(Reader(admin_client), row_of(model))
    assert shown >= SHOWN.get(model, set())


@pytest.mark.one_database
@pytest.mark.takes(20)
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("ready", {"state", "hourly_usd", "rate"}),
        ("booting", {"state", "hourly_usd"}),
        ("stopped", {"stopped_hourly_usd"}),
        ("terminating", {"state", "attempts", "state_since"}),
        ("failed", {"name", "retire_rule", "retire_because", "failed_at"}),
        ("terminated", {"state"}),
    ],
)
def test_whatever_is_shown_of_a_pod_changes_the_stamp(
    state: str, expected: set[str], admin_client: Client, time: SteppedClock
) -> None:
    a_furnished_installation()
    pod = Pod.objects.filter(state=state).order_by("pk")[0]
    assert changed_by(Reader(admin_client), pod) >= expected


def test_a_row_that_comes_or_goes_changes_the_stamp(
    admin_client: Client, time: SteppedClock
) -> None:
    a_furnished_installation()
    emb = Fleet.objects.get(name="emb")
    come: list[Any] = [
        lambda: a_pod(emb, READY),
        lambda: a_fleet(name="new"),
        lambda: a_tick(emb, token=2, at=NOON, depth=None, held_back="no answer"),
        lambda: an_alert(emb, subject="pod:9"),
        lambda: Sample.objects.create(fleet=emb, at=NOON, grain=1, depth=7, pods=1),
        lambda: PriceSegment.objects.filter(fleet__name="old").delete(),
        Sample.objects.order_by("at")[:1].get().delete,
        lambda: Alert.objects.filter(fleet=None).delete(),
        lambda: Tick.objects.filter(fleet=emb).delete(),
        lambda: Pod.objects.filter(state="booting").delete(),
        lambda: Pod.objects.filter(state="failed").delete(),
    ]
    for step in come:
        reader = Reader(admin_client)
        step()
        assert reader.changes()


def test_an_empty_installation_shows_its_accounts(admin_client: Client, time: SteppedClock) -> None:
    reader = Reader(admin_client)
    assert not reader.changes()
    account = Account.objects.create(name="rent", provider="runpod")
    assert reader.changes()
    reader = Reader(admin_client)
    Account.objects.filter(pk=account.pk).update(name="other")
    assert reader.changes()


@pytest.mark.one_database
@pytest.mark.takes(20)
def test_whatever_time_alone_changes_is_in_the_stamp(
    admin_client: Client, time: SteppedClock
) -> None:
    a_furnished_installation()
    an_alert(Fleet.objects.get(name="emb"), subject="pod:5", snoozed_until=NOON + 3 * MINUTE)
    changed = 0
    for step in (*[1] * 60, *[20] * 40, *[600] * 20, *[3600] * 12):
        reader = Reader(admin_client)
        time.advance(step)
        changed += reader.changes()
    assert changed > 60


def test_a_fleet_that_nobody_looks_after_shows_so_at_once_and_then_stands_still(
    admin_client: Client, time: SteppedClock
) -> None:
    a_tick(a_fleet(name="emb"), at=NOON, depth=0)
    reader = Reader(admin_client)
    time.advance(45)
    assert not reader.changes()
    time.advance(1)
    assert reader.changes()
    time.advance(200)
    reader = Reader(admin_client)
    assert "no decision for 4 min;" in reader.page
    answers = []
    for _ in range(10):
        time.advance(5)
        answer = admin_client.get(reverse(URL), {"seen": reader.stamp})
        answers.append(answer.status_code)
    assert answers == [204] * 10


def test_what_the_reader_may_do_and_asks_for_is_in_the_stamp(
    admin_client: Client, time: SteppedClock
) -> None:
    a_furnished_installation()
    for n in range(30):
        a_fleet(name=f"many-{n:02}")
    readers = [
        Reader(admin_client),
        Reader(a_user("operator")),
        Reader(a_user("viewer")),
        Reader(admin_client, q="many"),
        Reader(admin_client, q="man"),
        Reader(admin_client, show="quiet"),
        Reader(admin_client, show="needs-you"),
        Reader(admin_client, page="2"),
    ]
    admin_client.cookies["podfleet_zone"] = "Asia/Tokyo"
    readers.append(Reader(admin_client))
    by_stamp: dict[str, set[str]] = {}
    for reader in readers:
        by_stamp.setdefault(reader.stamp, set()).add(reader.page)
    assert all(len(pages) == 1 for pages in by_stamp.values())
    assert len(by_stamp) >= len(readers) - 1  # the buttons of an admin are those of an operator


def test_the_stamp_knows_every_permission_that_the_templates_ask_for() -> None:
    folder = Path(settings.BASE_DIR) / "fleet" / "templates" / "fleet"
    asked: set[str] = set()
    names = {"dashboard_now.html"}
    read: set[str] = set()
    while names - read:
        name = min(names - read)
        read.add(name)
        text = (folder / name).read_text()
        asked |= set(re.findall(r"perms\.(\w+\.\w+)", text))
        names |= set(re.findall(r'include "fleet/([\w/]+\.html)"', text))
    assert len(read) >= 8
    assert asked == set(renewal.PERMISSIONS)


def test_the_first_page_brings_its_stamp(admin_client: Client, time: SteppedClock) -> None:
    a_furnished_installation()
    [stamp] = SEEN.findall(admin_client.get(reverse("admin:index")).content.decode())
    assert admin_client.get(reverse(URL), {"seen": stamp}).status_code == 204


@pytest.mark.parametrize("fleets", [5, 50])
def test_a_renewal_takes_as_many_queries_with_5_fleets_as_with_50(
    fleets: int, admin_client: Client, time: SteppedClock, django_assert_num_queries: Any
) -> None:
    for n in range(fleets):
        fleet = a_fleet(name=f"fleet-{n:02}")
        a_tick(fleet)
        samples(fleet)
        a_pod(fleet, READY)
        an_alert(fleet, subject=fleet.name)
        a_pod(fleet, FAILED, failed_at=NOON, retire_rule=PodRule.AGENT_FAILED.value)
    Limits.get()
    reader = Reader(admin_client)
    with django_assert_num_queries(11):
        answer = admin_client.get(reverse(URL), {"seen": reader.stamp})
    assert answer.status_code == 204
    with django_assert_num_queries(12):
        assert admin_client.get(reverse(URL), {"seen": "old"}).status_code == 200
    with django_assert_num_queries(12):
        assert admin_client.get(reverse("admin:index")).status_code == 200
