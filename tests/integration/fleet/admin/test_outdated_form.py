"""A form that somebody else's edit has overtaken is refused."""

import pytest
from django.test import Client

from fleet.models import Fleet
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


def test_the_form_of_a_fleet_that_somebody_else_edited_meanwhile_is_refused() -> None:
    operator: Client = a_user("operator")
    fleet = a_fleet(name="one")
    page, sent = page_of(fleet), fields_of(fleet)
    assert operator.post(page, {**sent, "max_instances": "7"}).status_code == 302
    answer = operator.post(page, {**sent, "idle_seconds": "999"})
    assert answer.status_code == 200
    said = answer.content.decode()
    assert "Somebody else changed this fleet while you edited it" in said
    # a reload would only send the old form again
    assert f'href="{page}">Open it as it is now</a>' in said
    fleet = Fleet.objects.get()
    assert (fleet.max_instances, fleet.idle_seconds) == (7, 120)
