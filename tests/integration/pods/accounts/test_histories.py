"""What the history of an account begins with, and which of its secrets it says changed."""

import pytest

from pods.models import Account
from tests.support.factories import an_account

pytestmark = pytest.mark.django_db


def test_only_a_secret_that_is_written_has_changed() -> None:
    account = an_account()
    account.sealed_secret = "v1:another"
    account.save(update_fields=["name"])
    assert account.history.first().secrets_changed == ""
    account.save(update_fields=["name", "sealed_secret"])
    assert account.history.first().secrets_changed == "sealed_secret"
    account.save()
    assert account.history.first().secrets_changed == ""
    account.sealed_secret = "v1:a third"
    account.save()
    number = account.pk
    account.delete()
    ended, changed = Account.history.filter(id=number)[:2]
    assert (ended.secrets_changed, changed.secrets_changed) == ("", "sealed_secret")


def test_each_change_is_one_version() -> None:
    account = an_account()
    account.name = "another name"
    account.save()
    assert account.history.count() == 2


def test_the_secrets_of_another_account_are_not_compared() -> None:
    an_account(sealed_secret="v1:of the other")
    account = an_account(sealed_secret="v1:own")
    account.save()
    assert account.history.first().secrets_changed == ""


def test_a_row_that_is_made_with_its_number_has_one_version() -> None:
    account = Account(pk=77, name="restored", provider="local", sealed_secret="v1:x")
    account.save()
    assert [version.secrets_changed for version in account.history.all()] == [""]


def test_a_row_of_an_older_version_gets_its_stored_values_as_its_first_version() -> None:
    an_account(name="other")
    account = an_account(name="before")
    account.history.all().delete()
    account.name = "after"
    account.save()
    assert [(version.id, version.name) for version in account.history.order_by("pk")] == [
        *((account.pk, "before"), (account.pk, "after")),
    ]
