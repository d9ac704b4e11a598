"""Where messages say that a page of the docs is."""

import re
from pathlib import Path

import pytest

from config.env import ROOT
from pods.base.command_name import STARTED_AS, how_to_run, where_is
from tests.architecture.tree import tracked

CALL = re.compile(r"where_is\(['\"]([^'\"]+)['\"]\)")


def test_a_page_is_named_by_its_path_in_a_checkout_and_in_full_from_the_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(STARTED_AS, raising=False)
    assert where_is("howto/deploy.md") == "docs/howto/deploy.md"
    monkeypatch.setenv(STARTED_AS, "podfleet")
    assert Path(where_is("howto/deploy.md")) == ROOT / "docs" / "howto" / "deploy.md"


@pytest.mark.parametrize(
    ("started_as", "words", "shown"),
    [
        ("", "fleet list", "manage.py fleet list"),
        ("", "up", "make up"),
        ("podfleet", "fleet list", "podfleet fleet list"),
        ("podfleet", "up", "podfleet up"),
    ],
)
def test_a_command_is_named_as_the_user_starts_it(
    monkeypatch: pytest.MonkeyPatch, started_as: str, words: str, shown: str
) -> None:
    monkeypatch.setenv(STARTED_AS, started_as)
    assert how_to_run(words) == shown


def test_each_page_that_a_message_names_exists() -> None:
    code = tracked("config/*.py", "fleet/*.py", "pods/*.py")
    named = {page for file in code for page in CALL.findall(file.read_text(encoding="utf-8"))}
    assert len(named) > 4
    assert {page for page in named if not (ROOT / "docs" / page).is_file()} == set()
