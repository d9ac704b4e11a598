"""How machines without a row, spells of offers and errors of fields are worded."""

from decimal import Decimal

import pytest
from django import forms

from pods import orphans
from pods.models import Account, OfferSpell, Orphan
from pods.templatetags.pod_words import after_name
from tests.support.factories import NOON


@pytest.mark.parametrize(
    ("row", "word", "more"),
    [
        ({"gone_at": NOON, "outcome": "adopted", "wish": "adopt"}, "Handled", "adopted"),
        ({"outcome_kind": "not_adopted", "outcome": "why", "wish": "adopt"}, "Not adopted", "why"),
        ({"outcome_kind": "destroy_failed", "outcome": "x"}, "Not destroyed yet", "x"),
        ({"wish": "adopt", "wished_by": "ann"}, "Being adopted", "asked by ann"),
        ({"wish": "destroy", "outcome": "asked"}, "Being destroyed", "asked"),
        ({}, "Bills, belongs to no pod", "its account says: destroy"),
        ({"outcome": "seen"}, "Bills, belongs to no pod", "seen"),
    ],
)
def test_what_becomes_of_a_machine_without_a_row(row: dict[str, str], word: str, more: str) -> None:
    account = Account(name="a", orphans=Account.Orphans.DESTROY)
    shown = orphans.shown(Orphan(account=account, **row))
    assert (shown.word, shown.more) == (word, more)


@pytest.mark.parametrize(("gpu", "said"), [("L4", "2× L4"), ("", "no GPU")])
def test_a_spell_of_an_offer_names_its_gpus(gpu: str, said: str) -> None:
    spell = OfferSpell(
        account=Account(name="a"), gpu_type=gpu, gpu_count=2, hourly_usd=Decimal(1), since=NOON
    )
    assert f": {said} at $1.00/h from " in str(spell)


class Caps(forms.Form):
    most = forms.IntegerField(label="Most pods at once (now 2)")


class Renamed(Caps):
    def called(self, _name: str) -> str:
        return "Most pods at once"


@pytest.mark.parametrize(
    ("form", "error", "rest"),
    [
        (Renamed, "Most pods at once is 'x'; give a whole number", " is 'x'; give a whole number"),
        (Renamed, "Most pods at once: too many", ": too many"),
        (Renamed, "Most pods at oncely", ": Most pods at oncely"),
        (Caps, "Most pods at once (now 2) is 'x'", " is 'x'"),
        (Caps, "Most is 'x'", " is 'x'"),
        (Caps, " is 'x'", ":  is 'x'"),
        (Caps, "This field is required", ": This field is required"),
    ],
)
def test_an_error_goes_on_after_the_name_of_its_field(
    form: type[forms.Form], error: str, rest: str
) -> None:
    assert after_name(error, form()["most"]) == rest
