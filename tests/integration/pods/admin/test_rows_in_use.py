"""A row that others need is not deleted, and its page says what needs it."""

import html
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from pods.base.clock import utcnow
from pods.models import Orphan
from tests.support.factories import a_fleet, a_pod, an_account

pytestmark = pytest.mark.django_db


def an_account_with_pods() -> Model:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    for _ in range(22):
        a_pod(fleet)
    return account


def an_account_with_an_orphan() -> Model:
    now = utcnow()
    account = an_account()
    Orphan.objects.create(
        account=account, external_id="m-1", name="odd", first_seen_at=now, last_seen_at=now
    )
    return account


def a_schedule() -> Model:
    schedule = a_fleet(tick=timedelta(seconds=7)).schedule
    assert schedule is not None
    return schedule


@pytest.mark.parametrize(
    ("make", "keeps"),
    [
        (an_account_with_pods, "in use by Pod: "),
        (an_account_with_an_orphan, "in use by unknown machine rows"),
        (a_schedule, "in use by Fleet: "),
    ],
)
@pytest.mark.parametrize("chosen", [False, True])
def test_the_page_names_what_needs_the_row_and_deletes_nothing(
    admin_client: Client, make: Callable[[], Any], keeps: str, *, chosen: bool
) -> None:
    row = make()
    where = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    if chosen:
        sent = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        answer = admin_client.post(reverse(f"{where}_changelist"), sent)
    else:
        answer = admin_client.post(reverse(f"{where}_delete", args=[row.pk]), {"post": "yes"})
    said = html.unescape(answer.content.decode())
    assert keeps in said
    assert "permission" not in said
    assert said.count(keeps) <= 20
    assert ("and by 2 more" in said) == (make is an_account_with_pods)
    assert type(row).objects.filter(pk=row.pk).exists()


def test_an_account_that_nothing_uses_is_deleted(admin_client: Client) -> None:
    account = an_account()
    admin_client.post(reverse("admin:pods_account_delete", args=[account.pk]), {"post": "yes"})
    assert not type(account).objects.exists()
