"""Errors of form fields in our words: the field, what was wrong, and what would be right."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.forms.utils import pretty_name
from django.utils.text import capfirst

LONGEST_SHOWN: Final = 60
CHOICES_SHOWN: Final = 12


def _number(field: forms.Field) -> str:
    return "a whole number" if type(field) is forms.IntegerField else "a number"


def _required(name: str, _typed: str, _field: forms.Field, _limits: Mapping[str, Any]) -> str:
    return f"{name} is empty; give a value"


def _invalid(name: str, typed: str, field: forms.Field, _limits: Mapping[str, Any]) -> str:
    if isinstance(field, forms.IntegerField):  # decimals and floats too
        return f"{name} is {typed}; give {_number(field)}"
    if isinstance(field, forms.JSONField):
        return f'{name} is not JSON; write it like {{"name": "value"}}'
    if isinstance(field, forms.DateTimeField | forms.SplitDateTimeField):
        return f"{name} is not a time; write a date and a time such as 2026-11-30 08:00"
    return ""


def _low(name: str, typed: str, _field: forms.Field, limits: Mapping[str, Any]) -> str:
    return f"{name} is {typed}; give {limits['limit_value']} or more"


def _high(name: str, typed: str, _field: forms.Field, limits: Mapping[str, Any]) -> str:
    return f"{name} is {typed}; give {limits['limit_value']} or less"


def _long(name: str, _typed: str, _field: forms.Field, limits: Mapping[str, Any]) -> str:
    return f"{name} has {limits['show_value']:,} characters; give at most {limits['limit_value']:,}"


def _digits(name: str, typed: str, field: forms.Field, _limits: Mapping[str, Any]) -> str:
    if not isinstance(field, forms.DecimalField) or field.max_digits is None:
        return ""
    whole, places = field.max_digits - (field.decimal_places or 0), field.decimal_places
    return f"{name} is {typed}; give at most {whole} digits before the point and {places} after it"


def _choice(name: str, typed: str, field: forms.Field, _limits: Mapping[str, Any]) -> str:
    if isinstance(field, forms.ModelChoiceField):  # its choices are rows, and may be many
        return f"{name} is {typed}; choose from the list"
    if not isinstance(field, forms.ChoiceField):
        return ""
    choices: Any = field.choices
    known = [str(value) for value, _ in choices if value not in {None, ""}]
    return f"{name} is {typed}; choose one of {', '.join(known[:CHOICES_SHOWN])}"


Words = Callable[[str, str, forms.Field, Mapping[str, Any]], str]
WORDS: Final[Mapping[str, Words]] = {
    "required": _required,
    "invalid": _invalid,
    "min_value": _low,
    "max_value": _high,
    "max_length": _long,
    "max_digits": _digits,
    "max_decimal_places": _digits,
    "max_whole_digits": _digits,
    "invalid_choice": _choice,
    "invalid_pk_value": _choice,
}


class OwnWords(ModelForm):  # type: ignore[type-arg]
    """A form whose fields say what is wrong in our words, where Django has only its own."""

    right: ClassVar[Mapping[str, str]] = {}  # what to give in a field, if its kind says too little

    def full_clean(self) -> None:
        """Check all fields, then word what Django found."""
        super().full_clean()
        for name, errors in self.errors.items():
            field = self.fields.get(name)
            if field is None:
                continue
            for error in errors.as_data():
                self._word(name, field, error)

    def called(self, name: str) -> str:
        """What the errors of this form call a field."""
        known = (self._meta.labels or {}).get(name) or self.fields[name].label or pretty_name(name)
        return capfirst(str(known))

    def _word(self, name: str, field: forms.Field, error: ValidationError) -> None:
        """Replace the text of an error, unless somebody gave it words of its own."""
        words = WORDS.get(str(error.code))
        if words is None or not hasattr(error, "message") or _worded(field, error):
            return
        raw = str(self[name].value() if self[name].value() is not None else "")
        typed = repr(raw if len(raw) <= LONGEST_SHOWN else f"{raw[:LONGEST_SHOWN]}…")
        name_of = self.called(name)
        if error.code == "invalid" and name in self.right:
            error.message, error.params = f"{name_of} is {typed}; give {self.right[name]}", None
        elif text := words(name_of, typed, field, error.params or {}):
            error.message, error.params = text, None


def _worded(field: forms.Field, error: ValidationError) -> bool:
    """Whether the text of an error is ours: not the one that the field's class has by default."""
    code = str(error.code)
    if code not in {"required", "invalid", "invalid_choice", "invalid_pk_value"}:
        return code in field.error_messages
    parts = field.fields if isinstance(field, forms.MultiValueField) else ()
    classes = type(field).__mro__
    defaults = [
        *(part.error_messages.get(code) for part in parts),
        *(getattr(each, "default_error_messages", {}).get(code) for each in classes),
    ]
    return error.message not in defaults
