"""Help texts are text: nothing in them is taken for HTML."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.utils.html import escape

from fleet.models import Fleet
from tests.support.admin_pages import a_user, page_of
from tests.support.factories import a_fleet

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
OURS = [m for m in admin.site._registry if m._meta.app_label in {"fleet", "pods"}]


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_word_in_angle_brackets_is_shown(role: str) -> None:
    page = a_user(role).get(page_of(a_fleet())).content.decode()
    assert "Empty: &lt;stream&gt;:results." in page
    assert "<stream>" not in page


@pytest.mark.parametrize("model", OURS, ids=lambda m: m.__name__)
def test_no_help_text_of_a_form_can_be_taken_for_markup(model: Any, admin_user: Any) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    form = admin.site._registry[model].get_form(request)()
    for name, field in form.fields.items():
        assert not re.search(r"<\w*>", str(field.help_text)), name
    texts = form._meta.help_texts
    named = getattr(getattr(admin.site._registry[model].form, "Meta", None), "help_texts", {})
    for field in model._meta.concrete_fields:
        if field.help_text and field.name in texts:
            said = (named or {}).get(field.name, field.help_text)
            assert texts[field.name] == escape(said), field.name


def test_the_command_line_shows_them_as_they_are() -> None:
    assert "<stream>:results" in str(Fleet._meta.get_field("results").help_text)
