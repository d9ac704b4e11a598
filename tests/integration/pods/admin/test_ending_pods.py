"""Drain and destroy in the list of pods: they name the pods and ask for confirmation."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from pods import lifecycle, teardown
from pods.models import Pod
from pods.states import BOOTING, CREATING, DRAINING, FAILED, READY, TERMINATING, PodState
from tests.support.admin_pages import logged_in_with
from tests.support.factories import a_fleet, a_pod

pytestmark = [
    pytest.mark.django_db,
]


def post(client: Client, action: str, *pods: Pod, **values: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(p.pk) for p in pods], **values}
    return client.post(reverse("admin:pods_pod_changelist"), chosen)


@pytest.mark.parametrize(("action", "after"), [("drain", DRAINING), ("destroy", TERMINATING)])
def test_pods_are_named_and_stay_until_their_end_is_confirmed(
    admin_client: Client, action: str, after: PodState
) -> None:
    fleet = a_fleet()
    pod, ended, other = a_pod(fleet), a_pod(fleet, FAILED), a_pod(fleet)
    page = post(admin_client, action, pod, ended).content.decode()
    assert f"1 pod to {action}" in page
    assert pod.name in page
    assert ended.name not in page
    assert other.name not in page
    pod.refresh_from_db()
    assert pod.status is READY

    post(admin_client, action, pod, confirmed="yes")
    pod.refresh_from_db()
    other.refresh_from_db()
    assert (pod.status, other.status) == (after, READY)
    assert pod.events.get(after=after.value).by == "admin:admin"


@pytest.mark.fault(69)
def test_a_viewer_cannot_end_a_pod() -> None:
    pod, client = a_pod(), Client()  # the fixture `client` is one of Redis here
    logged_in_with(client, "view_pod")
    post(client, "destroy", pod, confirmed="yes")
    pod.refresh_from_db()
    assert pod.status is READY


def test_a_pod_that_moves_while_an_operator_ends_it_ends(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, retire = a_pod(a_fleet(), CREATING, external_id="m1"), teardown.retire_pod

    def after_a_move(seen: Pod, **values: Any) -> bool:
        row = Pod.objects.get(pk=pod.pk)
        if row.status is CREATING:
            lifecycle.move(row, BOOTING, by="spawn", because="created")
        return retire(seen, **values)

    monkeypatch.setattr(teardown, "retire_pod", after_a_move)
    page = post(admin_client, "destroy", pod, confirmed="yes")
    pod.refresh_from_db()
    assert (page.status_code, pod.status) == (302, TERMINATING)
