"""Tokens of the API in the admin: made and shown once, listed without their secrets, revoked."""

from typing import Any, ClassVar, Final, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from fleet import tokens
from fleet.models import ApiToken, Scope
from pods.admin.own_words import OwnWords
from pods.admin.row_verbs import WithRowVerb
from pods.base import moments
from pods.base.clock import utcnow
from pods.plural import plural

LASTS: Final = [(7, "in 7 days"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year")]


class TokenForm(OwnWords):
    """A new token."""

    days = forms.TypedChoiceField(
        label="Expires", choices=LASTS, coerce=int, initial=tokens.DEFAULT_DAYS,
        widget=UnfoldAdminSelectWidget(),
    )  # fmt: skip
    scope = forms.ChoiceField(
        label="Scope", choices=Scope.choices, widget=UnfoldAdminRadioSelectWidget(),
        help_text="A token never may more than its user.",
    )  # fmt: skip

    class Meta:
        """What the fields are called."""

        model = ApiToken
        fields = ("owner", "name", "scope")
        labels: ClassVar = {"owner": "User", "name": "Name"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owners = self.fields.get("owner")
        if isinstance(owners, forms.ModelChoiceField):
            owners.queryset = User.objects.filter(is_active=True, is_staff=True)

    def _post_clean(self) -> None:
        """`make_token` checks the row when it has one; the form's own fields are checked above."""

    def clean(self) -> dict[str, Any]:
        """Refuse a name that the user's other token has."""
        cleaned = super().clean() or {}
        owner = cleaned.get("owner") or getattr(self, "user", None)
        taken = ApiToken.objects.filter(owner=owner, name=cleaned.get("name"), revoked_at=None)
        if taken.exists():
            self.add_error(
                "name", ValidationError("this user has a token of this name; revoke that one first")
            )
        return cleaned


@admin.register(ApiToken)
class ApiTokenAdmin(WithRowVerb):
    """The tokens: one's own; an admin sees and revokes all, an owner makes them for others too."""

    nothing = "No token. A program needs one for the API; it never may more than its user."
    form = TokenForm
    list_display = ("shown", "owner", "name", "scope", "expires", "last_used", "state_now")
    list_filter = ("scope",)
    list_select_related = ("owner",)
    actions = ("revoke",)
    row_action, row_text = "revoke", "Revoke"
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """One's own tokens; for an admin, all."""
        rows: QuerySet[ApiToken] = super().get_queryset(request)
        everyone = request.user.has_perm("fleet.delete_apitoken")
        return rows if everyone else rows.filter(owner=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields of a new token; what is known of one that exists."""
        if obj is not None:
            return ("shown", "owner", "name", "scope", "expires", "last_used", "state_now")
        own = ("name", "scope", "days")
        return ("owner", *own) if request.user.is_superuser else own

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A token that exists is not edited: it is revoked, and another one made."""
        return self.get_fields(request, obj) if obj is not None else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form, which knows whose token it makes."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.user = request.user
        return form

    def has_row_verb(self, row: ApiToken) -> bool:
        """Whether it can be used."""
        return row.state(utcnow()) == "in use"

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: who had a token when stays known."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the list is theirs to see: everybody who may make a token."""
        return bool(request.user.has_perm("fleet.add_apitoken"))

    @display(description="token")
    def shown(self, token: ApiToken) -> str:
        """Its beginning."""
        return f"{token.prefix}…"

    @display(description="expires", ordering="expires_at")
    def expires(self, token: ApiToken) -> str:
        """When it ends."""
        return moments.shown(token.expires_at)

    @display(description="last used", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> str:
        """When it was last used, to the minute."""
        return "never" if token.last_used_at is None else moments.shown(token.last_used_at)

    @display(description="state")
    def state_now(self, token: ApiToken) -> str:
        """In use, expired or revoked."""
        state = token.state(utcnow())
        return f"{state} by {token.revoked_by}" if token.revoked_by else state

    @action(description="Revoke: refuse the token from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        """End the chosen tokens for good."""
        by = request.user.get_username()
        count = sum(tokens.revoke(token, by=by) for token in chosen)
        messages.success(request, f"{plural(count, 'token')} revoked; refused from now on")

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make the token; `response_add` shows it once."""
        given = form.cleaned_data
        made, secret = tokens.make_token(
            given.get("owner") or cast("User", request.user), given["name"], Scope(given["scope"]),
            days=given["days"], by=request.user.get_username(),
        )  # fmt: skip
        obj.pk, obj.prefix, obj.name = made.pk, made.prefix, made.name
        request.made_token = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the token, this once: neither a row, nor a session, nor a log keeps it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy the token now",
            "opts": self.opts,
            "secret": request.made_token,  # type: ignore[attr-defined]
            "token": ApiToken.objects.select_related("owner").get(pk=obj.pk),
            "list": reverse("admin:fleet_apitoken_changelist"),
        }
        answer = TemplateResponse(request, "admin/fleet/apitoken/made.html", context)
        answer["Cache-Control"] = "no-store"
        return answer

    def response_change(self, request: HttpRequest, obj: ApiToken) -> HttpResponse:
        """Go back to the list: a token is not edited."""
        return HttpResponseRedirect(reverse("admin:fleet_apitoken_changelist"))
