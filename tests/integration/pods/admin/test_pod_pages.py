"""The list of pods, the page of a pod and its log: states, outcomes and what was printed."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from fleet.models import Limits
from pods.admin.pod_filters import BAD
from pods.admin.pod_log import lines
from pods.base.clock import utcnow
from pods.models import Pod
from pods.outcomes import outcome_of
from pods.rules import PodRule
from pods.states import BOOTING, ENDED, FAILED, LOST, READY, TERMINATED, TERMINATING
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, hours, seconds

pytestmark = pytest.mark.django_db
LIST = reverse("admin:pods_pod_changelist")


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


def ended(fleet: Any, state: Any, rule: str, ago: timedelta, **values: Any) -> Pod:
    return a_pod(fleet, state, retire_rule=rule, ended_at=utcnow() - ago, **values)


def shown(client: Client, **query: str) -> set[str]:
    return {pod.name for pod in client.get(LIST, query).context["cl"].result_list}


def page_of(client: Client, pod: Pod) -> str:
    page = client.get(reverse("admin:pods_pod_change", args=[pod.pk])).content.decode()
    return " ".join(page.split())


def log_of(client: Client, pod: Pod, **query: str) -> Any:
    return client.get(reverse("admin:pods_pod_logs", args=[pod.pk]), query)


def test_the_page_of_a_booting_pod_says_what_its_machine_does(viewer: Client) -> None:
    pod = a_pod(a_fleet(), BOOTING, note="installing 12 of 48 packages")
    assert "installing 12 of 48 packages" in page_of(viewer, pod).partition("<dl")[0]
    pod = a_pod(a_fleet(stream="b", group="b"), READY, note="an older note")
    assert "an older note" not in page_of(viewer, pod).partition("<dl")[0]


def test_at_first_the_list_shows_the_pods_of_now_and_the_failures_of_the_last_hour(
    viewer: Client,
) -> None:
    fleet = a_fleet()
    ready, ending = a_pod(fleet, READY), a_pod(fleet, TERMINATING, retire_rule="idle")
    failed = ended(fleet, TERMINATED, "agent_failed", seconds(3590))
    lost = ended(fleet, LOST, "absent", seconds(10))
    old = ended(fleet, FAILED, "no_capacity", seconds(3610))
    calm = ended(fleet, TERMINATED, "idle", seconds(10))
    assert shown(viewer) == {p.name for p in (ready, ending, failed, lost)}
    assert shown(viewer, billing="now") == {ready.name, ending.name}
    assert shown(viewer, billing="failed") == {failed.name, lost.name, old.name}
    assert shown(viewer, billing="ended") == {p.name for p in (failed, lost, old, calm)}
    assert len(shown(viewer, billing="all")) == 6
    assert "Now, and failures of the last hour" in viewer.get(LIST).content.decode()


def test_the_filter_of_failures_and_the_outcome_agree_on_every_row() -> None:
    fleet = a_fleet()
    for state in ENDED:
        for rule in ("", *(r.value for r in PodRule)):
            for interruptible in (False, True):
                a_pod(fleet, state, retire_rule=rule, interruptible=interruptible)
    a_pod(fleet, TERMINATING, retire_rule="agent_failed")
    outcomes = {
        pod.pk: outcome_of(pod.status, pod.retire_rule, interruptible=pod.interruptible)
        for pod in Pod.objects.filter(state__in=[s.value for s in ENDED])
    }
    bad = {pk for pk, outcome in outcomes.items() if outcome is not None and outcome.bad}
    assert set(Pod.objects.filter(BAD).values_list("pk", flat=True)) == bad


def test_the_list_has_eight_columns_with_state_and_outcome_in_words(viewer: Client) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, rate=8.4, beat_at=utcnow())
    a_pod(fleet, BOOTING)
    ended(fleet, TERMINATED, "agent_failed", seconds(10))
    answer = viewer.get(LIST)
    page = " ".join(answer.content.decode().split())
    assert len([c for c in answer.context["cl"].list_display if c != "action_checkbox"]) == 8
    assert 'pf-green"><span aria-hidden="true">●</span> Working</span>' in page
    assert "8.4 items/s" in page
    assert 'pf-blue"><span aria-hidden="true">◐</span> Booting</span>' in page
    assert 'pf-red"><span aria-hidden="true">✖</span> Failed</strong>' in page
    assert ": its agent cannot work" in page


def test_the_page_of_a_failed_pod_says_so_in_its_headline_and_has_a_short_title(
    viewer: Client,
) -> None:
    fleet, now = a_fleet(name="emb"), utcnow()
    pod = ended(
        fleet, TERMINATED, "agent_failed", seconds(0), requested_at=now - seconds(20),
        failed_at=now - seconds(12), last_note="handler cannot be loaded\nTraceback",
        last_output="boom",
    )  # fmt: skip
    page = page_of(viewer, pod)
    assert "Failed after 8 s: handler cannot be loaded</h1>" in page
    title = page.partition("<title>")[2].partition("</title>")[0]
    assert pod.client_token.hex[:8] in title
    assert "emb" in title
    assert pod.client_token.hex not in title
    assert "Its agent said: handler cannot be loaded" in page


@pytest.mark.parametrize(
    ("state", "rule", "said"),
    [
        (TERMINATED, "operator", "Ended by admin after 2 h</h1>"),
        (TERMINATED, "idle", "Finished after 2 h: nothing left to do</h1>"),
        (TERMINATING, "operator", "Being ended by admin after 2 h</h1>"),
        (LOST, "absent", "Lost after 2 h: the machine is gone</h1>"),
        (READY, "", "Working for 1 h</h1>"),
    ],
)
def test_a_headline_says_how_it_is_or_how_it_ended(
    viewer: Client, state: Any, rule: str, said: str
) -> None:
    now = utcnow()
    over = now if state in ENDED else None
    pod = a_pod(
        state=state, retire_rule=rule, requested_at=now - hours(2), ended_at=over,
        lost_because="the machine is gone",
    )  # fmt: skip
    Pod.objects.filter(pk=pod.pk).update(state_since=now - hours(1))
    assert said in page_of(viewer, pod)


def test_the_headline_of_a_pod_that_cannot_be_ended_says_what_the_vendor_answered(
    viewer: Client,
) -> None:
    pod = a_pod(state=TERMINATING, retire_rule="operator", attempts=9, note="destroy: status 500")
    Pod.objects.filter(pk=pod.pk).update(state_since=utcnow() - hours(1))
    page = page_of(viewer, pod)
    assert "Cannot be ended for 1 h: destroy: status 500</h1>" in page
    assert "destroy_again" not in page
    assert 'value="destroy_again"' in page_of(a_user("operator"), pod)


def test_a_log_of_a_gone_machine_shows_what_was_kept_and_can_be_searched(viewer: Client) -> None:
    pod = a_pod(state=TERMINATED, last_output="one\nTWO <b>\nthree two", ended_at=utcnow())
    page = log_of(viewer, pod).content.decode()
    assert "These are its last lines, kept when the pod failed" in page
    assert "TWO &lt;b&gt;" in page
    assert "pf-follow" not in page
    found = log_of(viewer, pod, q="two").content.decode()
    assert found.count("<mark>") == 2
    assert "2 lines with “two”" in " ".join(found.split())
    assert ">one\n" not in found
    nothing = log_of(viewer, pod, q="<script>").content.decode()
    assert "No line has this text." in nothing
    assert "<script>”" not in nothing


def test_a_log_can_be_followed_and_downloaded(viewer: Client) -> None:
    pod = a_pod(a_fleet(name="emb"), state=READY)
    assert "pf-follow" in log_of(viewer, pod).content.decode()
    part = log_of(viewer, pod, part="1").content.decode()
    assert "NotFound" in part
    assert "<html" not in part
    over = a_pod(state=TERMINATED, last_output="one\ntwo", ended_at=utcnow())
    file = log_of(viewer, over, download="1")
    assert file.content.decode() == "one\ntwo"
    assert file["Content-Type"] == "text/plain; charset=utf-8"
    name = f"{over.fleet.name}-{over.client_token.hex[:8]}.log"
    assert file["Content-Disposition"] == f'attachment; filename="{name}"'


def test_parts_of_a_line_are_the_line_again() -> None:
    text = "aXbxc\nnone\nİx"
    for found in lines(text, "x"):
        assert "".join(found.parts) == text.splitlines()[found.number - 1]
    assert [line.number for line in lines(text, "x")] == [1, 3]
    assert [line.number for line in lines(text, "")] == [1, 2, 3]


def test_each_list_of_ours_says_what_would_be_in_it() -> None:
    ours = {
        model._meta.model_name: getattr(page, "nothing", "")
        for model, page in admin.site._registry.items()
        if model._meta.app_label in {"fleet", "pods"} and model is not Limits  # it has one row
    }
    assert len(ours) > 6
    assert [name for name, nothing in ours.items() if not nothing] == []


def test_an_empty_list_says_what_would_be_here_and_where_to_look(viewer: Client) -> None:
    page = viewer.get(LIST).content.decode()
    assert "A fleet that needs pods rents them" in page
    assert 'href="?billing=all">All pods</a>' in page
    found = viewer.get(LIST, {"q": "nothing-like-this"}).content.decode()
    assert "No pod matches what you look for." in found
    assert "Add pod" not in found
    inbox = viewer.get(reverse("admin:fleet_alert_changelist")).content.decode()
    assert "No alert here." in inbox
    fleets = a_user("operator").get(reverse("admin:fleet_fleet_changelist")).content.decode()
    assert "Add fleet" in fleets
