"""A check shows what was printed, and leaves its reason to the last line of the command."""

from collections.abc import Mapping
from typing import Any

import pytest

from fleet.code.trying import tried_of
from fleet.management.code import text_of

TRACE = 'Traceback (most recent call last):\n  File "embed.py", line 3\nValueError: bad text'
ITEM = {"id": "0-1", "error": "ValueError: bad text", "traceback": TRACE}
BUILT = "the environment cannot be built: ERROR: no tiny | ERROR: not found"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"step": "load", "error": "ValueError: bad text", "traceback": TRACE}, "line 3"),
        ({"step": "done", "results": [ITEM, {**ITEM, "id": "0-2"}]}, "0-2: failed"),
        ({"step": "install", "error": BUILT}, "Collecting tiny"),
    ],
)
def test_a_check_says_its_reason_once(said: Mapping[str, Any], shown: str) -> None:
    printed = ["Collecting tiny", "ERROR: no tiny", "ERROR: not found", ""]
    tried = tried_of(said, printed if said["step"] == "install" else [])
    text = text_of(tried)
    assert shown in text
    assert not [words for words in ("bad text", "no tiny", "not found") if words in text]
    assert any(words in tried.wrong[0] for words in ("bad text", "not found"))


def test_an_item_that_failed_for_another_reason_shows_its_own() -> None:
    other = {"id": "0-2", "error": "KeyError: x", "traceback": ""}
    text = text_of(tried_of({"step": "done", "results": [ITEM, other]}))
    assert text.splitlines()[:2] == ["0-1: failed", "0-2: KeyError: x"]
