"""A shadow on its page, on the command line and in the API."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError
from django.db.models import F
from django.test import Client
from django.urls import reverse

from fleet import archiving, retention, shadowing
from fleet.models import Fleet, Shadow, ShadowTick
from fleet.roles import make_groups
from pods.base.clock import utcnow
from tests.support.admin_pages import a_user
from tests.support.api import a_client
from tests.support.factories import a_fleet, hours
from tests.support.fleet_command import run
from tests.support.recorded_ticks import an_hour

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def fleet() -> Fleet:
    fleet = a_fleet(name="emb", target_depth_per_pod=500)
    an_hour(fleet)
    return fleet


def go_on() -> None:
    """Let it begin before the recorded hour."""
    Shadow.objects.update(since=utcnow() - hours(2))
    shadowing.go_on()


def test_an_operator_runs_what_was_compared_beside_the_fleet_and_ends_it(fleet: Fleet) -> None:
    make_groups(Group, Permission)
    operator: Client = a_user("operator")
    what_if = reverse("admin:fleet_fleet_what_if", args=[fleet.pk])
    assert (
        "Run this beside the live fleet"
        in operator.get(what_if, {"max_instances": "3"}).content.decode()
    )
    assert "Run this beside" not in operator.get(what_if).content.decode()
    page = reverse("admin:fleet_fleet_shadow", args=[fleet.pk])
    assert "emb has no shadow" in operator.get(page).content.decode()
    operator.post(page, {"max_instances": "3", "spawn_per_tick": "2"})
    go_on()
    shown = operator.get(page).content.decode()
    assert "with max_instances=3, spawn_per_tick=2" in shown
    assert shown.count("<polyline") == 9
    assert "starts 2 pods" in shown
    assert "Show what runs beside the live fleet" in operator.get(what_if).content.decode()
    assert "End the shadow" in shown
    operator.post(page, {"verb": "end"})
    assert "End the shadow" not in operator.get(page).content.decode()
    refused = operator.post(page, {"max_instances": "many"}, follow=True).content.decode()
    assert "integer" in refused


def test_a_viewer_sees_a_shadow_and_begins_none(fleet: Fleet) -> None:
    make_groups(Group, Permission)
    viewer = a_user("viewer")
    page = reverse("admin:fleet_fleet_shadow", args=[fleet.pk])
    what_if = reverse("admin:fleet_fleet_what_if", args=[fleet.pk])
    assert viewer.get(page).status_code == 200
    assert "Run this beside" not in viewer.get(what_if, {"max_instances": "3"}).content.decode()
    assert viewer.post(page, {"max_instances": "3"}).status_code == 403
    assert not Shadow.objects.exists()


def test_the_command_begins_shows_and_ends(fleet: Fleet) -> None:
    assert "emb has no shadow" in run("shadow", "emb")
    assert run("shadow", "emb", "--json").strip() == "null"
    text = run("shadow", "emb", "--set", "max_instances=3", "--days", 2)
    assert "It stands still: the next tick begins it." in text
    go_on()
    text = run("shadow", "emb")
    assert all(word in text for word in ("as it is", "model of it", "decided otherwise at"))
    assert "  shadow  keeps 3 pods" in text
    told = json.loads(run("shadow", "emb", "--json"))
    assert told["settings"] == {"max_instances": "3"}
    assert [c["course"] for c in told["courses"]] == ["live", "model", "changed"]
    assert [c["done"] for c in told["courses"]] == [3000, 3000, 3000]
    assert told["differences"][-1]["live"].startswith("keeps 1 pod")
    assert "it ended" in run("shadow", "emb", "--off")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--off"], "emb has no shadow that runs"),
        (["--off", "--set", "max_instances=3"], "give --set or --off, not both"),
        (["--days", "3"], "--days belongs to --set"),
        (["--days", "0", "--set", "max_instances=3"], "give 1 to 90"),
        (["--set", "max_instances=1"], "that is the present value"),
        (["--set", "backlog_url=redis://:secret@h"], "no decision depends on it"),
        (["--set", "offer_query={"], "is not JSON"),
    ],
)
def test_bad_input_is_refused(fleet: Fleet, words: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run("shadow", "emb", *words)
    assert not Shadow.objects.exists()


def test_the_api_does_the_same(fleet: Fleet) -> None:
    operator, viewer = a_client("operator"), a_client("viewer")
    assert viewer.get("/fleets/emb/shadow").status_code == 404
    body: dict[str, Any] = {"settings": {"max_instances": 3, "daily_budget_usd": "90"}, "days": 3}
    assert viewer.send("PUT", "/fleets/emb/shadow", body).status_code == 403
    assert operator.send("PUT", "/fleets/emb/shadow", body).status_code == 200
    go_on()
    told = viewer.get("/fleets/emb/shadow").json()
    assert told["settings"] == {"max_instances": 3, "daily_budget_usd": "90"}
    assert told["courses"][2]["most_pods"] == 3
    assert operator.send("DELETE", "/fleets/emb/shadow").status_code == 204
    assert operator.send("DELETE", "/fleets/emb/shadow").status_code == 404
    for wrong in ({}, {"max_instances": 1}, {"image": "x"}):
        assert operator.send("PUT", "/fleets/emb/shadow", {"settings": wrong}).status_code == 422


def test_old_moments_go_with_the_decisions_and_an_archived_fleet_has_none(fleet: Fleet) -> None:
    run("shadow", "emb", "--set", "max_instances=3")
    go_on()
    ShadowTick.objects.update(at=F("at") - timedelta(days=31))
    assert retention.prune()["shadow_ticks"] == 241
    assert Shadow.objects.exists()
    archiving.archive(fleet, by="ann")
    assert not Shadow.objects.exists()
    with pytest.raises(CommandError, match="was archived"):
        run("shadow", "emb", "--set", "max_instances=3")
