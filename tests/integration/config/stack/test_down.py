"""`manage.py down` says how many pods may still bill."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from pods.states import READY, TERMINATED
from tests.support.factories import a_pod

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_runs(settings: Any, tmp_path: Path) -> None:
    """A folder without a stack."""
    settings.VAR_DIR, settings.EMBEDDED_REDIS = tmp_path, False


def down() -> str:
    said = io.StringIO()
    call_command("down", stdout=said)
    return said.getvalue()


def test_it_says_what_may_bill() -> None:
    pod = a_pod(state=READY)
    assert "1 pod may still bill: run `make up`" in down()
    type(pod).objects.update(state=TERMINATED.value)
    assert down() == "nothing was running\n"
