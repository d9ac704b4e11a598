"""`manage.py machines`: the verbs of the page of unknown machines, in a terminal."""

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from pods.base.clock import utcnow
from pods.models import Orphan
from tests.support.factories import an_account

pytestmark = pytest.mark.django_db


def machines(*words: str) -> str:
    out = io.StringIO()
    call_command("machines", *words, stdout=out, stderr=out)
    return out.getvalue()


def an_orphan(external_id: str = "m1", account: str = "main", **values: Any) -> Orphan:
    now = utcnow()
    return Orphan.objects.create(
        account=an_account("runpod", name=account), external_id=external_id, name="pf-ab-1-cd",
        hourly_usd=Decimal("0.69"), first_seen_at=now, last_seen_at=now, **values,
    )  # fmt: skip


def test_the_list_shows_what_bills_and_all_also_what_was_handled() -> None:
    assert "every machine that was seen belongs to a pod" in machines("list")
    an_orphan()
    an_orphan("m2", "other", gone_at=utcnow(), outcome="adopted", outcome_kind="adopted")
    text = machines("list")
    assert "Bills, belongs to no pod" in text
    assert "$0.69" in text
    assert "m2" not in text
    assert [row["id"] for row in json.loads(machines("list", "--all", "--json"))] == ["m2", "m1"]


def test_a_machine_is_adopted_by_the_verb_of_the_page() -> None:
    an_orphan()
    said = json.loads(machines("adopt", "m1", "--json"))
    assert (said["wish"], said["id"]) == ("adopt", "m1")
    assert said["wished_by"].startswith("admin:")
    assert Orphan.objects.get().wish == "adopt"


@pytest.mark.parametrize("answer", ["no\n", "", "y\n"])
def test_a_destroy_asks_first_and_anything_but_yes_changes_nothing(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_orphan()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with pytest.raises(CommandError, match="nothing was changed"):
        machines("destroy", "m1")
    assert Orphan.objects.get().wish == ""


def test_a_destroy_that_is_confirmed_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    an_orphan()
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    text = machines("destroy", "m1")
    assert "Destroy m1 at main, $0.69/h?" in text
    assert "m1 is being destroyed" in text
    an_orphan("m2", "other")
    assert "m2 is being destroyed" in machines("destroy", "m2", "--yes")


def test_a_machine_that_is_not_there_or_not_clear_is_refused() -> None:
    with pytest.raises(CommandError, match="no unknown machine m1"):
        machines("adopt", "m1")
    an_orphan()
    an_orphan("m1", "other")
    with pytest.raises(CommandError, match="--account main, --account other"):
        machines("adopt", "m1")
    assert "m1 is being adopted" in machines("adopt", "m1", "--account", "other")
    assert [o.account.name for o in Orphan.objects.filter(wish="adopt")] == ["other"]
