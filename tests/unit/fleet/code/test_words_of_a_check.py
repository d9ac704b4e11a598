"""A check shows what was printed, and leaves its reason to the last line of the command."""

import sys
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


def test_speeds_are_shown_unless_every_item_failed() -> None:
    batches, right = [{"items": 2, "seconds": 0.1}], {"id": "0-2", "bytes": 1, "result": "1"}
    said = {"step": "done", "results": [ITEM, right], "batches": batches}
    assert "20.0 items/s" in text_of(tried_of(said))
    failed = tried_of({**said, "results": [ITEM, ITEM]})
    assert "items/s" not in text_of(failed)
    assert failed.as_json()["batches"] == []


def test_a_missing_module_is_to_be_installed_where_the_handler_was_tried() -> None:
    said = {"step": "load", "error": "…", "missing": "wordllama.inference"}
    assert "wordllama is missing; add its package to the dep" in tried_of(said).wrong[0]
    assert f"install it for {sys.executable}" in tried_of(said, built=False).wrong[0]
    gone = {**said, "missing": "pods.agent.handlers.embed"}
    assert (
        tried_of(gone, built=False)
        .wrong[0]
        .startswith(
            "the module pods.agent.handlers.embed is missing: the agent of this version has none"
        )
    )
