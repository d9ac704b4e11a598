"""The admin page of a row, and the form values that a browser sends from it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import reverse


def fields_of(instance: Any) -> dict[str, str]:
    """The values that a browser sends from an unchanged form."""
    request = RequestFactory().get("/")
    request.user = User.objects.get()
    model = admin.site._registry[type(instance)]
    form = model.get_form(request, instance)(instance=instance)
    sent: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if isinstance(bound.field, forms.BooleanField):
            if value:
                sent[bound.html_name] = "on"
        else:
            sent[bound.html_name] = "" if value is None else value
    return sent


def page_of(instance: Any) -> str:
    options = instance._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[instance.pk])
