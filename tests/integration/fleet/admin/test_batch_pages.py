"""The page of batches: how far each is, why one failed, and an early end by who may operate."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from fleet.batches import creating, files
from fleet.models import Batch, BatchStatus
from fleet.roles import make_groups
from pods.base.clock import utcnow
from tests.support.admin_pages import a_user, page_of
from tests.support.factories import a_fleet

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
BATCHES = reverse("admin:fleet_batch_changelist")
DAY = timedelta(days=1)


@pytest.fixture
def batch() -> Batch:
    fleet = a_fleet(name="emb", stream="texts", group="texts")
    file = files.store(fleet, "in.jsonl", iter([b"{}\n"]), kept=DAY, now=utcnow())
    return creating.create(
        file, endpoint="/v1/embeddings", completion_window="24h", metadata=None, kept=DAY
    )


def reached(batch: Batch, status: BatchStatus, **fields: Any) -> Batch:
    Batch.objects.filter(pk=batch.pk).update(status=status, **fields)
    batch.refresh_from_db()
    return batch


def test_the_list_says_how_many_requests_have_their_outcome(
    admin_client: Client, batch: Batch
) -> None:
    reached(batch, BatchStatus.IN_PROGRESS, total=100_000, completed=1_200, failed=34)
    page = admin_client.get(BATCHES).content.decode()
    assert batch.key in page
    assert "1,234 of 100,000, 34 failed" in page
    assert "In progress" in page
    assert "at the latest" in page


def test_the_page_of_a_failed_batch_names_its_wrong_lines(
    admin_client: Client, batch: Batch
) -> None:
    wrong = [{"code": "x", "line": 7, "message": "no custom_id <b>", "param": None}]
    reached(batch, BatchStatus.FAILED, errors=wrong, ended_at=utcnow())
    page = admin_client.get(page_of(batch)).content.decode()
    assert "line 7: no custom_id &lt;b&gt;" in page
    assert "Cancel this batch" not in page


def test_an_operator_cancels_a_batch_and_an_ended_one_is_left_alone(batch: Batch) -> None:
    make_groups(Group, Permission)
    client = a_user("operator")
    reached(batch, BatchStatus.IN_PROGRESS, total=5)
    assert "Cancel this batch" in client.get(page_of(batch)).content.decode()
    sent = {"action": "cancel", "_selected_action": batch.pk}
    assert "1 batch cancelled" in client.post(BATCHES, sent, follow=True).content.decode()
    batch.refresh_from_db()
    assert batch.status == BatchStatus.CANCELLING
    reached(batch, BatchStatus.COMPLETED, ended_at=utcnow())
    assert "1 batch left alone" in client.post(BATCHES, sent, follow=True).content.decode()
    batch.refresh_from_db()
    assert batch.status == BatchStatus.COMPLETED


def test_a_viewer_sees_batches_and_cancels_none(batch: Batch) -> None:
    make_groups(Group, Permission)
    client = a_user("viewer")
    assert "Cancel this batch" not in client.get(page_of(batch)).content.decode()
    client.post(BATCHES, {"action": "cancel", "_selected_action": batch.pk})
    batch.refresh_from_db()
    assert batch.status == BatchStatus.VALIDATING
