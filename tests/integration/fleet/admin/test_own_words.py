"""An error of a form names the field, says what was wrong, and what would be right."""

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.models import Limits
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import a_fleet, an_account

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
# How the errors of Django begin.
FOREIGN = re.compile(r"^(Enter|Ensure|Select|This field|Value|A valid)")


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(User.objects.create_superuser("root", password="x"))
    return made


def errors_of(client: Client, instance: Any, **edited: Any) -> dict[str, list[str]]:
    answer = client.post(page_of(instance), {**fields_of(instance), **edited})
    errors = answer.context["adminform"].form.errors
    return {name: [html.unescape(str(text)) for text in texts] for name, texts in errors.items()}


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("max_instances", "many", "Max pods is 'many'; give a whole number"),
        ("max_instances", "", "Max pods is empty; give a value"),
        ("max_instances", "-1", "Max pods is '-1'; give 0 or more"),
        ("target_depth_per_pod", "0", "Items that justify a pod is '0'; give 1 or more"),
        ("heartbeat_seconds", "often", "Heartbeat is 'often'; give a number"),
        ("heartbeat_seconds", "0.1", "Heartbeat is '0.1'; give 0.2 or more"),
        (
            "max_hourly_usd",
            "1" * 30,
            "Highest spend per hour is '111111111111111111111111111111'; give at",
        ),
        ("mode", "asleep", "Mode is 'asleep'; choose one of running, paused, stop_all"),
        ("image", "x" * 301, "Image has 301 characters; give at most 300"),
        ("handler_env", "{", "Variables of the handler is not JSON"),
        ("name", "Not A Name", "use 1 to 40 of the characters"),
        ("handler", "nothing", "give package.module:function"),
    ],
)
def test_a_wrong_value_of_a_fleet_is_answered_in_our_words(
    client: Client, field: str, typed: str, said: str
) -> None:
    errors = errors_of(client, a_fleet(), **{field: typed})
    assert said in errors[field][0]
    assert not [text for texts in errors.values() for text in texts if FOREIGN.match(text)]


@pytest.mark.parametrize("typed", ["", "x", "-1", "9" * 30, "0", "{", "9999-99-99"])
def test_no_form_of_ours_answers_in_the_words_of_django(client: Client, typed: str) -> None:
    fleet = a_fleet()
    found = []
    for instance in (fleet, Limits.get(), an_account("docker", enabled=False)):
        found += list(
            errors_of(client, instance, **dict.fromkeys(fields_of(instance), typed)).items()
        )
    sent = dict.fromkeys(("fleet", "pods", "until_0", "until_1", "because"), typed)
    page = client.post(reverse("admin:fleet_override_add"), sent)
    found += page.context["adminform"].form.errors.items()
    assert len(found) > 10
    assert not [(name, text) for name, texts in found for text in texts if FOREIGN.match(text)]
