"""`manage.py down` says which pods may still bill, and can stop `make clean` because of them."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.env import ROOT
from pods.states import READY, TERMINATED
from tests.support.factories import a_pod

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_runs(settings: Any, tmp_path: Path) -> None:
    """A folder without a stack."""
    settings.VAR_DIR, settings.EMBEDDED_REDIS = tmp_path, False


def down(*words: str) -> str:
    said = io.StringIO()
    call_command("down", *words, stdout=said)
    return said.getvalue()


def test_what_may_bill_is_said_and_stops_what_would_delete_it() -> None:
    pod = a_pod(state=READY, hourly_usd=Decimal("0.5"))
    assert "1 pod may still bill: run `make up`" in down()
    with pytest.raises(CommandError, match=r"1 pod may still bill.*nothing was removed"):
        down("--check-pods")
    type(pod).objects.update(hourly_usd=0)
    assert "1 pod may still bill" in down("--check-pods")  # on this machine, at no cost
    type(pod).objects.update(state=TERMINATED.value)
    assert down("--check-pods") == "nothing was running\n"


def test_make_clean_asks_before_it_removes() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nclean:")[2].partition("\n\n")[0]
    asked, removed = recipe.index("manage.py down --check-pods"), recipe.index("rm -rf")
    assert asked < removed
