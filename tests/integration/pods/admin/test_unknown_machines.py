"""The page of unknown machines: whether there are any, and what operators decide about them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from pods.base.clock import utcnow
from pods.models import Account, Orphan
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, an_account, hours, seconds

pytestmark = pytest.mark.django_db
LIST = reverse("admin:pods_orphan_changelist")


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def an_orphan(account: Account | None = None, **values: Any) -> Orphan:
    now = utcnow()
    defaults = {"external_id": "m1", "name": "pf-ab-1-cd", "hourly_usd": Decimal("0.69")}
    return Orphan.objects.create(
        account=account or an_account("runpod"), first_seen_at=now - hours(1), last_seen_at=now,
        **{**defaults, **values},
    )  # fmt: skip


def page_of(client: Client, **query: str) -> str:
    return " ".join(client.get(LIST, query).content.decode().split())


def press(client: Client, orphan: Orphan, wish: str, **values: str) -> Any:
    url = reverse(f"admin:pods_orphan_{wish}", args=[orphan.pk])
    return client.post(url, values, follow=True)


def test_without_unknown_machines_the_page_says_when_that_was_checked(operator: Client) -> None:
    assert "No account is enabled" in page_of(operator)
    account = an_account("runpod", name="main", reconciled_at=utcnow() - seconds(12))
    page = page_of(operator)
    assert "Every machine at your vendors belongs to a pod. Checked <time" in page
    assert "12 s ago" in page
    an_account("vastai", name="off", enabled=False)
    assert "Unknown:" not in page_of(operator)
    Account.objects.filter(pk=account.pk).update(reconciled_at=utcnow() - timedelta(minutes=6))
    page = page_of(operator)
    assert "Every machine" not in page
    assert "was last checked" in page
    an_account("vastai", name="new")
    assert "was not checked yet" in page_of(operator)


def test_a_machine_is_shown_with_its_price_its_fleet_and_its_buttons(operator: Client) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet)
    orphan = an_orphan(fleet_id=fleet.pk)
    an_orphan(orphan.account, external_id="m2", gone_at=utcnow(), outcome="adopted")
    page = page_of(operator)
    for words in (
        "1 machine of yours bills and belongs to no pod.",
        "m1",
        "$0.69",
        "emb",
        "Adopt<",
    ):
        assert words in page
    assert "Every machine" not in page
    assert ">m2<" not in page
    assert ">m2<" in page_of(operator, **{"is": "handled"})
    stranger = an_orphan(orphan.account, external_id="m3", fleet_id=999)
    adopt = reverse("admin:pods_orphan_adopt", args=[stranger.pk])
    assert adopt not in page_of(operator)  # no fleet here could take it


def test_a_destroy_asks_first_and_is_then_decided(operator: Client) -> None:
    orphan = an_orphan()
    asked = press(operator, orphan, "destroy").content.decode()
    assert "Destroy the machine" in asked
    assert "Keep it" in asked
    orphan.refresh_from_db()
    assert orphan.wish == ""
    told = press(operator, orphan, "destroy", confirmed="yes").content.decode()
    assert "m1 is being destroyed" in told
    orphan.refresh_from_db()
    assert (orphan.wish, orphan.wished_by) == ("destroy", "admin:operator")
    assert "asked by admin:operator" in page_of(operator)
    assert operator.get(reverse("admin:pods_orphan_destroy", args=[orphan.pk])).status_code == 405
    assert operator.post(reverse("admin:pods_orphan_destroy", args=[99])).status_code == 404


def test_an_operator_adopts_or_hears_that_it_was_handled_meanwhile(operator: Client) -> None:
    orphan = an_orphan()
    assert "m1 is being adopted" in press(operator, orphan, "adopt").content.decode()
    Orphan.objects.update(gone_at=utcnow(), wish="")
    assert "has a row by now" in press(operator, orphan, "adopt").content.decode()
    orphan.refresh_from_db()
    assert orphan.wish == ""


@pytest.mark.parametrize(
    ("wish", "kind", "word"),
    [
        ("adopt", "not_adopted", "Not adopted"),
        ("destroy", "destroy_failed", "Not destroyed yet"),
        ("", "destroy_failed", "Not destroyed yet"),
        ("adopt", "", "Being adopted"),
        ("destroy", "destroy_asked", "Being destroyed"),
    ],
)
def test_what_became_of_a_wish_is_read_from_its_value_and_not_from_a_text(
    operator: Client, wish: str, kind: str, word: str
) -> None:
    an_orphan(wish=wish, outcome_kind=kind, outcome="any words at all")
    assert f"</span> {word}" in page_of(operator)


@pytest.mark.fault(69)
def test_a_viewer_sees_no_button_and_decides_nothing() -> None:
    orphan, viewer = an_orphan(), a_user("viewer")
    page = page_of(viewer)
    assert "m1" in page
    assert "formaction" not in page
    for wish in ("adopt", "destroy"):
        assert press(viewer, orphan, wish, confirmed="yes").status_code == 403
    orphan.refresh_from_db()
    assert orphan.wish == ""


@pytest.mark.parametrize("count", [2, 30])
def test_the_list_of_machines_has_a_fixed_number_of_queries(
    operator: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    account = an_account("runpod")
    for n in range(count):
        an_orphan(account, external_id=f"m{n}", fleet_id=n)
    operator.get(LIST)
    with django_assert_max_num_queries(13):
        assert len(operator.get(LIST).context["cl"].result_list) == count
