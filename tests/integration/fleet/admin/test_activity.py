"""The activity reads as lines, and tells what people did apart from what the manager did."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Limits
from fleet.pages import activity
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod, PodEvent
from pods.states import BOOTING
from tests.support.admin_pages import a_user, logged_in_with
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
LIST = "admin:pods_podevent_changelist"


def an_event(pod: Pod, before: str, after: str, **values: Any) -> PodEvent:
    facts = {"by": "health", "because": "why"}
    return PodEvent.objects.create(
        pod=pod, at=clock.utcnow(), before=before, after=after, **{**facts, **values}
    )


def text(client: Client, **query: str) -> str:
    return " ".join(client.get(reverse(LIST), query).content.decode().split())


def shown(client: Client, **query: str) -> list[str]:
    page = client.get(reverse(LIST), query)
    return [event.because for event in page.context["cl"].result_list]


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


def test_a_line_has_the_fleet_the_pod_its_move_and_the_reason(
    viewer: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet, BOOTING)
    an_event(pod, "booting", "terminating", rule="agent_failed", because="No module <named> nope")
    page = text(viewer)
    short = pod.name.rpartition("-")[2][:8]
    assert f'href="{reverse("admin:fleet_fleet_status", args=[fleet.pk])}">emb</a>' in page
    assert f">{short}</a>: <strong>starting → failed</strong>, No module &lt;named&gt; nope" in page
    assert "the health check" in page
    assert ">12:00:00</time>" in page


@pytest.mark.parametrize(
    ("before", "after", "rule", "line"),
    [
        ("", "requested", "wanted", "requested"),
        ("creating", "failed", "no_capacity", "being rented → failed"),
        ("ready", "terminating", "absent", "working → lost"),
        ("ready", "terminating", "idle", "working → ending"),
        ("ready", "draining", "operator", "working → draining"),
        ("terminating", "terminated", "", "ending → ended"),
        ("ready", "", "", ""),
    ],
)
def test_each_move_in_words(before: str, after: str, rule: str, line: str) -> None:
    assert activity.moved(PodEvent(before=before, after=after, rule=rule)) == line


def test_what_people_did_is_shown_apart_with_their_edits(
    viewer: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet)
    an_event(pod, "ready", "draining", by="admin:ann", rule="operator", because="drained by hand")
    an_event(pod, "draining", "terminating", by="teardown", because="drained")
    an_event(pod, "", "booting", by="adopt", because="taken over")
    assert shown(viewer, who="people") == ["taken over", "drained by hand"]
    assert "drained" in shown(viewer, who="manager")
    assert "drained by hand" not in shown(viewer, who="manager")
    operating.set_mode(fleet, Mode.PAUSED, by="ann")
    Limits.made()
    page = text(viewer, who="people")
    assert "set Mode by ann: <strong>now paused</strong>" in page
    version = reverse("admin:fleet_fleet_simple_history", args=[fleet.pk, fleet.history.first().pk])
    assert f'href="{version}">emb</a>' in page
    assert viewer.get(version).status_code == 200
    assert "ann" in page.partition("Pods that people")[2]
    assert "Edits of fleets" not in text(viewer)


def test_the_list_can_be_asked_for_one_fleet_and_one_state(
    viewer: Client, time: SteppedClock
) -> None:
    one, two = a_pod(a_fleet(name="one")), a_pod(a_fleet(name="two", stream="two"))
    an_event(one, "ready", "lost", because="gone")
    an_event(two, "ready", "lost", because="also gone")
    assert shown(viewer, after="lost") == ["also gone", "gone"]
    asked = {"after": "lost", "pod__fleet__id__exact": str(one.fleet_id)}
    assert shown(viewer, **asked) == ["gone"]


@pytest.mark.parametrize("count", [2, 60])
def test_the_list_has_a_fixed_number_of_queries(
    viewer: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    for n in range(count // 2):
        pod = a_pod(a_fleet(stream=f"s{n}"))
        an_event(pod, "ready", "draining", by="admin:ann", rule="operator")
    text(viewer, who="people")
    with django_assert_max_num_queries(11):
        text(viewer, who="people")


def test_who_may_not_see_fleets_sees_none_of_their_edits(client: Client) -> None:
    operating.set_mode(a_fleet(name="emb"), Mode.PAUSED, by="ann")
    logged_in_with(client, "view_podevent")
    page = text(client, who="people")
    assert "set Mode by ann" not in page
