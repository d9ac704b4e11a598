"""The form of an account: a field for each option of its provider, and one for its key."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from pods.accounts import connecting, editing, registry_logins
from pods.accounts.editing import Tried
from pods.admin.own_words import OwnWords
from pods.models import Account
from pods.providers import registry
from pods.providers.account_options import OptionField, OptionKind

PREFIX: Final = "option_"
LONGEST_KEY: Final = 65_536
LONGEST_OPTION: Final = 2000
LARGEST: Final = 1_000_000_000
YES, NO = "yes", "no"


def described(provider: str) -> Sequence[OptionField] | None:
    """The options of a provider; None if it is unknown, or its adapter does not describe them."""
    try:
        return registry.option_fields_of(provider)
    except ValueError:
        return None


def field_of(option: OptionField) -> forms.Field:
    """The form field of an option. Left empty, it stands for the default."""
    shown = _as_typed(option.kind, option.default)
    common: dict[str, Any] = {
        "required": False,
        "label": option.label,
        "help_text": escape(_help(option, shown)),
    }
    attrs = {"placeholder": shown.replace("\n", ", "), "autocomplete": "off"}
    match option.kind:
        case OptionKind.YES_NO:
            choices = [("", f"default: {shown}"), (YES, YES), (NO, NO)]
            widget = UnfoldAdminSelectWidget()
            return forms.ChoiceField(choices=choices, widget=widget, **common)
        case OptionKind.WHOLE:
            wrong = "give a whole number, or leave it empty for the default"
            return forms.IntegerField(
                max_value=LARGEST,
                widget=UnfoldAdminTextInputWidget(attrs=attrs),
                error_messages={"invalid": wrong, "max_value": wrong},
                **common,
            )
        case OptionKind.DECIMAL:
            wrong = "give a number such as 0.5, or leave it empty for the default"
            return forms.DecimalField(
                max_value=LARGEST,
                widget=UnfoldAdminTextInputWidget(attrs=attrs),
                error_messages={"invalid": wrong, "max_value": wrong},
                **common,
            )
        case OptionKind.LINES:
            lines = UnfoldAdminTextareaWidget(attrs={**attrs, "rows": 2})
            return forms.CharField(max_length=LONGEST_OPTION, widget=lines, **common)
        case OptionKind.TEXT:
            text = UnfoldAdminTextInputWidget(attrs=attrs)
            return forms.CharField(max_length=LONGEST_OPTION, widget=text, **common)


def _help(option: OptionField, default: str) -> str:
    """What an option means, and what holds if its field is left empty."""
    known = default.replace("\n", ", ")
    return f"{option.text} Default: {known}." if known else option.text


def _as_typed(kind: OptionKind, value: Any) -> str:
    """A stored value, as a person would type it."""
    if value is None:
        return ""
    if kind is OptionKind.YES_NO:
        return YES if value else NO
    if kind is OptionKind.LINES and isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return str(value)


def _as_stored(kind: OptionKind, value: Any) -> Any:
    """A typed value, as the account's options hold it; None: it was left empty."""
    if value is None or value == "":
        return None
    if kind is OptionKind.YES_NO:
        return value == YES
    if kind is OptionKind.LINES:
        return [line.strip() for line in value.splitlines() if line.strip()]
    return str(value) if isinstance(value, Decimal) else value


class AccountForm(OwnWords):
    """The form of an account; it refuses the same values as the command line."""

    key = forms.CharField(
        required=False,
        max_length=LONGEST_KEY,
        label="Key",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The vendor's API key. It is tried, stored encrypted, and never shown again. A new "
        "key replaces the present one; leave the field empty to keep that.",
    )
    registry_password = forms.CharField(
        required=False,
        max_length=registry_logins.LONGEST_PASSWORD,
        label="Password at the registry",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Or an access token. It is stored encrypted and never shown again. Leave the field "
        "empty to keep the present one.",
    )
    # Set by `form_for`: the options for which the form has fields.
    described: ClassVar[Sequence[OptionField]] = ()
    tried: Tried

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "provider" in self.fields:
            said = self.data if self.is_bound else self.initial
            self.fields["provider"] = _choice(said.get("provider"))
        if "key" in self.fields and (self.instance.sealed_secret or self.instance.secret_ref):
            self.fields["key"].label = "Replace key"
        for option in self.described:
            stored = self.instance.options.get(option.name)
            self.initial.setdefault(PREFIX + option.name, _as_typed(option.kind, stored))

    def clean_key(self) -> str:
        """The key without the spaces and the end of line that a copy brings along."""
        return str(self.cleaned_data["key"]).strip()

    def clean(self) -> dict[str, Any]:
        """Refuse two places for the key; put the options together."""
        cleaned = super().clean() or {}
        if cleaned.get("key") and "secret_ref" in self.changed_data and cleaned.get("secret_ref"):
            raise ValidationError(
                {
                    "key": "give the key here or where to read it from, not both: one of them would "
                    "be ignored"
                }
            )
        if self.described:
            self.instance.options = self._options(cleaned)
            self._check_options(str(cleaned.get("provider") or self.instance.provider))
        return cleaned

    def _check_options(self, provider: str) -> None:
        """Show what is wrong with an option at its field, by its label."""
        wrong = connecting.wrong_option(Account(provider=provider, options=self.instance.options))
        name = "" if wrong is None else PREFIX + wrong.name
        if wrong is not None and name in self.fields and name not in self.errors:
            self.add_error(name, wrong.said_of(self.called(name)))

    def _options(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        named = {option.name: option.kind for option in self.described}
        # An option that has no field stays, so that the check of all options can name it.
        options = {n: v for n, v in self.instance.options.items() if n not in named}
        for name, kind in named.items():
            value = _as_stored(kind, cleaned.get(PREFIX + name))
            if value is not None:
                options[name] = value
        return options

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # it writes the fields into the instance
        if key := self.cleaned_data.get("key"):
            editing.replace_key(self.instance, key)
        if password := self.cleaned_data.get("registry_password"):
            try:
                registry_logins.replace_password(self.instance, password)
            except ValidationError as exc:
                self.add_error(None, exc)

    def full_clean(self) -> None:
        """Try the account with a real call if all fields are right."""
        super().full_clean()
        if not self.is_bound or self.errors:
            return
        try:
            self.tried = editing.check_account(self.instance)
        except ValidationError as exc:
            for name, errors in exc.error_dict.items():
                self.add_error(name if name in self.fields else None, errors)

    @property
    def changed_columns(self) -> set[str]:
        """The columns that the form changes."""
        columns = {f.name for f in Account._meta.concrete_fields} & set(self.changed_data)
        options = any(name.startswith(PREFIX) for name in self.changed_data)
        return columns | ({"options"} if options else set())


def _choice(chosen: Any) -> forms.ChoiceField:
    """The field of the provider: the one whose options the form has, else all that exist."""
    names = registry.names()
    known = ", ".join(names)
    return forms.ChoiceField(
        choices=[(name, name) for name in ([chosen] if chosen in names else names)],
        widget=UnfoldAdminSelectWidget(),
        help_text="The form has the options of this provider. Add another account to rent elsewhere.",
        error_messages={"invalid_choice": f"no provider '%(value)s'; known: {known}"},
    )


def form_for(provider: str) -> type[AccountForm]:
    """The form of an account of this provider."""
    options = described(provider) or ()
    fields = {PREFIX + option.name: field_of(option) for option in options}
    return type("AccountForm", (AccountForm,), {"described": options, **fields})
