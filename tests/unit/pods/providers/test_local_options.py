"""What an operator can set on an account of this machine, and how a mistake is reported."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pods.providers.local import connect
from pods.providers.local.options import Options

ROOT = {"root": "/srv/pods"}


def test_an_account_needs_a_root_and_nothing_else() -> None:
    assert Options.parse(ROOT) == Options(root=Path("/srv/pods"))
    assert (Options.parse(ROOT).hourly_usd, Options.parse(ROOT).capacity) == (Decimal(0), None)
    assert Options.parse(ROOT).python == sys.executable


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"rot": "/x"},
            "unknown option 'rot'; use capacity, hourly_usd, python, python_path, root",
        ),
        ({"root": None}, "root is None; give the full path of a folder"),
        ({"root": ""}, "root is ''"),
        ({"root": "pods"}, "root is 'pods'"),
        ({"root": "/a\0b"}, "give the full path of a folder"),
        ({"root": 7}, "root is 7"),
        ({"hourly_usd": "much"}, "hourly_usd is 'much'; give USD per hour, 0 or above"),
        ({"hourly_usd": -1}, "hourly_usd is -1"),
        ({"hourly_usd": "NaN"}, "hourly_usd is 'NaN'"),
        ({"hourly_usd": "Infinity"}, "hourly_usd is 'Infinity'"),
        ({"hourly_usd": "1e30"}, "hourly_usd is '1e30'"),
        ({"hourly_usd": True}, "hourly_usd is True"),
        ({"hourly_usd": None}, "hourly_usd is None"),
        ({"capacity": -1}, "capacity is -1; give a number of machines, or leave it out"),
        ({"capacity": "3"}, "capacity is '3'"),
        ({"capacity": True}, "capacity is True"),
        ({"capacity": 1.5}, "capacity is 1.5"),
        ({"python": "/no/such/python"}, "python is '/no/such/python'; give the path of a Python"),
        ({"python": 3.11}, "python is 3.11; give a text"),
        ({"python_path": ["a"]}, "python_path is ['a']; give a text"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError) as told:
        connect(options={**ROOT, **given}, secret=None)
    assert said in str(told.value)


@pytest.mark.parametrize("price", [0.1, "0.1", Decimal("0.1")])
def test_a_tenth_is_a_tenth_however_it_was_written(price: object) -> None:
    assert Options.parse({**ROOT, "hourly_usd": price}).hourly_usd == Decimal("0.1")


def test_one_folder_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    roots = [tmp_path / "real" / "pods", tmp_path / "link" / "pods", f"{tmp_path}/real/x/../pods"]
    assert len({Options.parse({"root": root}).root for root in roots}) == 1


def test_an_account_on_this_machine_takes_no_secret() -> None:
    with pytest.raises(ValueError, match="leave it empty") as told:
        connect(options=ROOT, secret="k3y")
    assert "k3y" not in str(told.value)
