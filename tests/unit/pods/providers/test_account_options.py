"""The options of an account as a form shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pods.providers.account_options import Called, OptionField, OptionKind, option_fields


@dataclass
class _Options:
    folder: Path
    plain_words: Annotated[str, "What it means."] = "usual"
    places: Annotated[Sequence[str], Called("Data centers"), "One a line."] = ()
    most: Annotated[int | None, "Empty: any.", Called("Most pods")] = None
    verified: bool = True
    price: Decimal = Decimal(1)
    mode: Literal["fast", "slow"] = "fast"


def test_each_option_has_its_label_its_kind_its_default_and_its_text() -> None:
    shown = [
        ("folder", "Folder", OptionKind.TEXT, None, ""),
        ("plain_words", "Plain words", OptionKind.TEXT, "usual", "What it means."),
        ("places", "Data centers", OptionKind.LINES, (), "One a line."),
        ("most", "Most pods", OptionKind.WHOLE, None, "Empty: any."),
        ("verified", "Verified", OptionKind.YES_NO, True, ""),
        ("price", "Price", OptionKind.DECIMAL, Decimal(1), ""),
        ("mode", "Mode", OptionKind.TEXT, "fast", ""),
    ]
    assert option_fields(_Options) == [
        OptionField(name=name, label=label, kind=kind, default=default, text=text)
        for name, label, kind, default, text in shown
    ]
