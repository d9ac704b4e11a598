"""The page of a fleet's secrets: names for all, forms for operators, no value for anybody."""

import pytest
from django.urls import reverse

from fleet import keeping_secrets, operating
from fleet.models import Fleet
from fleet.secrets import channel
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db
VALUE = "hunter2-of-the-database"


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    made: Fleet = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(made)
    return made


def page(fleet: Fleet) -> str:
    return reverse("admin:fleet_fleet_secrets", args=[fleet.pk])


def test_an_operator_sets_replaces_and_removes_a_secret(fleet: Fleet) -> None:
    operator = a_user("operator")
    assert "No secrets" in operator.get(page(fleet)).content.decode()
    for value in ("first", VALUE):
        answer = operator.post(page(fleet), {"key": "DB_PASSWORD", "value": value}, follow=True)
        text = answer.content.decode()
        assert "DB_PASSWORD set; each pod takes the change with its next heartbeat" in text
        assert value not in text
    assert channel.for_pods(fleet) == {"DB_PASSWORD": VALUE}
    operator.post(page(fleet), {"key": "DB_PASSWORD", "verb": "remove"})
    assert channel.for_pods(fleet) == {}


def test_a_refused_form_keeps_the_name_and_not_the_value(fleet: Fleet) -> None:
    answer = a_user("operator").post(page(fleet), {"key": "PATH", "value": VALUE})
    text = answer.content.decode()
    assert "PATH is reserved" in text
    assert 'value="PATH"' in text
    assert VALUE not in text
    assert not fleet.secrets.exists()


def test_a_viewer_sees_names_and_can_change_nothing(fleet: Fleet) -> None:
    keeping_secrets.set_secret(fleet, "DB_PASSWORD", VALUE, by="ann")
    viewer = a_user("viewer")
    text = viewer.get(page(fleet)).content.decode()
    assert "DB_PASSWORD" in text
    assert VALUE not in text
    assert fleet.secrets.get().sealed_value not in text
    assert 'name="value"' not in text
    assert viewer.post(page(fleet), {"key": "A", "value": "b"}).status_code == 403
    assert viewer.post(page(fleet), {"key": "DB_PASSWORD", "verb": "remove"}).status_code == 403
    assert channel.for_pods(fleet) == {"DB_PASSWORD": VALUE}
    history = viewer.get(reverse("admin:fleet_fleet_history", args=[fleet.pk])).content.decode()
    assert "secret DB_PASSWORD set by ann" in history
