"""What PostgreSQL refuses is not found out in production."""

import pytest
from django.db import DataError, IntegrityError, transaction

from pods.models import Account
from tests.support.factories import an_account

pytestmark = pytest.mark.django_db


def test_a_text_that_is_too_long_for_its_column_is_refused_by_either_database() -> None:
    account = an_account()
    with pytest.raises((DataError, IntegrityError)), transaction.atomic():
        Account.objects.filter(pk=account.pk).update(name="n" * 41)
    Account.objects.filter(pk=account.pk).update(name="n" * 40)
