"""The admin page of a row, and the form values that a browser sends from it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, RequestFactory
from django.urls import reverse

admin.autodiscover()  # the addresses do it in a server


def fields_of(instance: Any, *, user: str | None = None) -> dict[str, str]:
    """The values that a browser sends from an unchanged form of the only user, or of this one."""
    request = RequestFactory().get("/")
    request.user = User.objects.get(**({} if user is None else {"username": user}))
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


def a_user(role: str) -> Client:
    """A browser in which somebody of this role is logged in."""
    user = User.objects.create_user(role, password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def logged_in_with(client: Client, permission: str) -> None:
    """Log somebody in who has this permission and no other."""
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename=permission))
    client.force_login(viewer)
