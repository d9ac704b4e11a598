"""Users in the admin: a person has a role, in one line, instead of sixty permissions."""

from typing import Any, Final, cast

from django import forms
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminRadioSelectWidget

from fleet.people import NOBODY, OWNER, give_role, role_of
from fleet.roles import ROLES
from pods.admin.base import AskedByFilters
from pods.base.acting import How

MEANS: Final = {
    **{name: f"{name}: {meaning}" for name, meaning in ROLES.items()},
    OWNER: "owner: does everything, also with users and background jobs",
    NOBODY: "no role: cannot log in here",
}


def _role_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Role", choices=list(MEANS.items()), widget=UnfoldAdminRadioSelectWidget()
    )


class PersonForm(UserChangeForm):  # type: ignore[misc]
    """A user with a role."""

    role: forms.ChoiceField = _role_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["role"] = role_of(self.instance)


class NewPersonForm(UserCreationForm):  # type: ignore[misc]
    """A new user with a role."""

    role: forms.ChoiceField = _role_field()


class People(AskedByFilters, UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    """The users and their roles."""

    form = PersonForm
    add_form = NewPersonForm
    change_password_form = AdminPasswordChangeForm
    compressed_fields = False
    list_display = ("username", "role_now", "email", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("Person", {"fields": (("first_name", "last_name"), "email")}),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """The users with their groups, in two queries."""
        users = super().get_queryset(request).prefetch_related("groups")
        return cast("QuerySet[User]", users)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form; only an owner makes owners, and nobody changes the own role."""
        form = super().get_form(request, obj, change=change, **kwargs)
        role: Any = form.base_fields.get("role")
        if role is not None:
            owner = bool(request.user.is_superuser)
            role.choices = [c for c in MEANS.items() if owner or c[0] != OWNER]
            role.disabled = obj is not None and obj.pk == request.user.pk
        return form

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page of a user, with one button that saves."""
        context.update(show_save_and_continue=False, show_save_and_add_another=False)
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """The fieldsets; the role as text for who may not change the user."""
        shown = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return shown
        return [
            (title, {**how, "fields": [_seen(name) for name in how["fields"]]})
            for title, how in shown
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """What is not edited here."""
        return (*super().get_readonly_fields(request, obj), "role_now")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may be changed: an owner only by an owner."""
        return self._may(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may be deleted: an owner only by an owner."""
        return self._may(request, obj) and super().has_delete_permission(request, obj)

    def _may(self, request: HttpRequest, obj: Any) -> bool:
        return obj is None or not obj.is_superuser or bool(request.user.is_superuser)

    @display(description="role")
    def role_now(self, user: User) -> str:
        """The role of a user."""
        return role_of(user)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Give the role; `save_model` has written the rest."""
        super().save_related(request, form, formsets, change)
        if form.instance.pk != request.user.pk:
            by = request.user.get_username()
            give_role(form.instance, form.cleaned_data["role"], by=by, how=How.ADMIN)


def _seen(name: Any) -> Any:
    if isinstance(name, str):
        return "role_now" if name == "role" else name
    return tuple(_seen(each) for each in name)
