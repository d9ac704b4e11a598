"""Every sum of a day that falls has a correction that says by how much and why; costs by user and tag."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from fleet import operating
from fleet.models import Fleet
from fleet.money import corrections, focus, ledger
from fleet.pages.money import spending
from pods import lifecycle
from pods.costs import segments
from pods.emulators.base import SteppedClock
from pods.models import MICROS, Correction, Pod
from pods.states import LOST, READY, TERMINATED, TERMINATING
from tests.support.api import a_client
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours

pytestmark = pytest.mark.django_db
Why = Correction.Why
USD = Decimal("0.6")
MINUTE = 60


def total() -> Decimal:
    return sum(
        (cost.usd for cost in ledger.day_costs(NOON.date(), NOON.date() + hours(48))), Decimal(0)
    )


def corrected() -> Decimal:
    micros = Correction.objects.aggregate(n=Sum("micros"))["n"] or 0
    return Decimal(micros) / MICROS


def end_accepted_before(pod: Pod, time: SteppedClock) -> None:
    Pod.objects.filter(pk=pod.pk).update(destroy_asked_at=NOON + timedelta(hours=1))
    lifecycle.move(Pod.objects.get(pk=pod.pk), TERMINATING, by="test", because="idle")
    time.advance(10 * MINUTE)


@pytest.mark.parametrize(
    ("why", "minutes"),
    [(Why.ENDED_EARLIER, -10), (Why.MISSING_EARLIER, -20), (Why.NEVER_CREATED, -70)],
)
def test_a_sum_that_falls_says_why(time: SteppedClock, why: Correction.Why, minutes: int) -> None:
    pod = a_pod(a_fleet(), READY, hourly_usd=USD)
    time.advance(hour := 60 * MINUTE)
    end_accepted_before(pod, time)
    pod.refresh_from_db()
    before = total()
    if why is Why.ENDED_EARLIER:
        lifecycle.move(pod, TERMINATED, by="test", because="proved")
    elif why is Why.MISSING_EARLIER:
        at = NOON + timedelta(seconds=hour - 10 * MINUTE)
        segments.close(pod, at=at, now=NOON + timedelta(seconds=hour + 10 * MINUTE), why=why)
    else:
        segments.never_billed(pod)
    assert total() == before + corrected()
    row = Correction.objects.get()
    assert (row.why, row.fleet, row.pod) == (why.value, pod.fleet, pod)
    assert corrected() == USD * minutes / 60


def test_a_machine_that_is_seen_again_adds_what_it_billed_all_along(time: SteppedClock) -> None:
    pod = a_pod(a_fleet(), READY, hourly_usd=USD)
    time.advance(60 * MINUTE)
    lifecycle.move(pod, LOST, by="test", because="gone")
    assert not Correction.objects.exists()  # it ended now, so nothing falls
    time.advance(30 * MINUTE)
    before = total()
    assert segments.still_there(pod)
    assert total() == before + corrected()
    assert (corrected(), Correction.objects.get().why) == (USD / 2, Why.STILL_THERE.value)


def test_what_costs_nothing_needs_no_correction(time: SteppedClock) -> None:
    pod = a_pod(a_fleet(), READY, hourly_usd=Decimal(0))
    time.advance(60 * MINUTE)
    end_accepted_before(pod, time)
    lifecycle.move(Pod.objects.get(pk=pod.pk), TERMINATED, by="test", because="proved")
    assert not Correction.objects.exists()


@given(
    began=st.integers(0, 86_400), seconds=st.integers(1, 300_000), down=st.booleans(),
    usd=st.decimals("0.000001", 90, places=6),
)  # fmt: skip
def test_the_parts_of_the_days_add_up_to_the_correction(
    began: int, seconds: int, usd: Decimal, *, down: bool
) -> None:
    since = NOON + timedelta(seconds=began)
    until = since + timedelta(seconds=seconds)
    micros = int(usd * seconds * 1_000_000 / 3600) * (-1 if down else 1)
    row = Correction(
        pod=Pod(name="p"), fleet=Fleet(name="f"), at=until, since=since, until=until,
        hourly_usd=usd, micros=micros, why=Why.ENDED_EARLIER.value,
    )  # fmt: skip
    parts = list(corrections.by_day(row, first=NOON.date(), last=NOON.date() + hours(240)))
    assert sum(part.micros for part in parts) == micros
    assert len({part.day for part in parts}) == len(parts)
    assert all((part.micros < 0) is down for part in parts)


@pytest.fixture
def corrected_pod(time: SteppedClock) -> Pod:
    """A pod of a tagged fleet of ann, whose end was booked ten minutes earlier."""
    fleet = operating.create_fleet(
        "emb", by="ann", handler="m:f", tags={"team": "search", "env": "prod"},
        accounts=[an_account().name],
    )  # fmt: skip
    a_pod(a_fleet(name="other", tags={"env": "test"}), READY, hourly_usd=USD)
    pod = a_pod(fleet, READY, hourly_usd=USD)
    time.advance(60 * MINUTE)
    end_accepted_before(pod, time)
    lifecycle.move(Pod.objects.get(pk=pod.pk), TERMINATED, by="test", because="proved")
    return pod


def test_the_page_shows_the_correction_and_the_costs_by_user_and_tag(
    corrected_pod: Pod, admin_client: Client
) -> None:
    page = admin_client.get(reverse("money")).content.decode()
    assert "−$0.10" in page
    assert Why.ENDED_EARLIER.label in page
    assert f"{corrected_pod.pk}/change" in page
    for heading in ("By user", "By tag team", "By tag env"):
        assert heading in page
    found = spending(7)
    assert found.by_user == {"unknown user": Decimal("0.7"), "ann": USD}
    assert found.by_tag == {
        "env": {"test": Decimal("0.7"), "prod": USD},
        "team": {"not tagged": Decimal("0.7"), "search": USD},
    }
    assert [bar.corrected_usd for bar in found.bars if bar.corrected_usd] == [Decimal("-0.1")]
    as_json = json.loads(admin_client.get(reverse("money"), {"format": "json"}).content)
    assert [c["usd"] for c in as_json["corrections"]] == ["-0.1"]


def test_the_command_writes_corrections_and_tags(corrected_pod: Pod, tmp_path: str) -> None:
    out = io.StringIO()
    call_command("costs", "--from", str(NOON.date()), "--corrections", stdout=out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [(r["fleet"], r["usd"], r["why"]) for r in rows] == [("emb", "-0.1", "ended_earlier")]
    with pytest.raises(CommandError, match=r"ends in \.csv"):
        call_command("costs", "--corrections", "--out", f"{tmp_path}/x.parquet")
    named = list(focus.COLUMNS).index("Tags")
    tags = [json.loads(row[named]) for row in focus.rows(NOON.date(), NOON.date())]
    ours = next(t for t in tags if t["podfleet/fleet"] == "emb")
    assert ours == {
        "team": "search", "env": "prod", "podfleet/fleet": "emb", "podfleet/user": "ann",
        "podfleet/pod": corrected_pod.name,
    }  # fmt: skip


def test_the_api_has_the_same_and_takes_tags(corrected_pod: Pod) -> None:
    api = a_client(name="bob")
    made = api.post(
        "/fleets", {"name": "new", "handler": "m:f", "tags": {"team": "a"}, "stream": "s"}
    )
    assert made.status_code == 201, made.content
    assert Fleet.objects.get(name="new").tags == {"team": "a"}
    assert Fleet.objects.get(name="new").created_by == "bob"
    refused = api.post(
        "/fleets", {"name": "bad", "handler": "m:f", "tags": {"": "a"}, "stream": "t"}
    )
    assert (refused.status_code, "cannot be a key" in refused.content.decode()) == (422, True)
    found = api.get("/money").json()
    assert {u["user"]: Decimal(u["usd"]) for u in found["by_user"]} == {
        "unknown user": Decimal("0.7"), "ann": USD,
    }  # fmt: skip
    assert [(t["value"], Decimal(t["usd"])) for t in found["by_tag"] if t["tag"] == "team"] == [
        ("not tagged", Decimal("0.7")), ("search", USD),
    ]  # fmt: skip
    assert [(Decimal(c["usd"]), c["why"]) for c in found["corrections"]] == [
        (Decimal("-0.1"), "ended_earlier")
    ]


def test_tags_are_typed_in_the_form_and_on_the_command_line(
    admin_client: Client, redis_url: str
) -> None:
    call_command("fleet", "create", "cli", "--handler", "m:f", "--tags", "team=search,env=prod")
    fleet = Fleet.objects.get(name="cli")
    assert fleet.tags == {"team": "search", "env": "prod"}
    assert fleet.created_by
    with pytest.raises(CommandError, match="key=value"):
        call_command("fleet", "set", "cli", "--tags", "team")
    page = admin_client.get(reverse("admin:fleet_fleet_change", args=[fleet.pk]))
    assert page.context["adminform"].form["tags"].value() == "env=prod\nteam=search"
