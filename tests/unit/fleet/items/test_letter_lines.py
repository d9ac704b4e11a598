"""What a downloaded line of a dead letter says, and that it can be enqueued again."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from fleet.items.files import ItemFile
from fleet.items.letter_lines import line

DEAD = {
    b"dead_error": b"ValueError: bad", b"dead_traceback": b"Traceback", b"dead_deliveries": b"5",
    b"dead_pod": b"pod-a", b"dead_at_ms": b"1795473132695", b"dead_entry": b"7-1",
}  # fmt: skip


def test_a_line_has_the_item_and_why_it_failed() -> None:
    said = json.loads(line("9-0", {b"payload": "grün".encode(), b"note": b"x", **DEAD}))
    assert said == {
        "id": "7-1", "payload": "grün", "note": "x",
        "failure": {
            "letter": "9-0", "error": "ValueError: bad", "traceback": "Traceback", "tries": "5",
            "pod": "pod-a", "at": "2026-11-23T22:32:12.695000+00:00",
        },
    }  # fmt: skip


def test_bytes_that_are_not_text_are_base64_and_odd_times_stay() -> None:
    said = json.loads(line("9-0", {b"payload": b"\xff\x00", b"id": b"a", b"dead_at_ms": b"9" * 40}))
    assert (said["payload"], said["encoding"]) == ("/wA=", "base64")
    assert said["failure"]["at"] == "9" * 40


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_downloaded_item_can_be_enqueued_again_as_it_was(payload: str, own: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "failed.jsonl"
        path.write_bytes(line("9-0", {b"id": own.encode(), b"payload": payload.encode(), **DEAD}))
        [fields] = list(ItemFile(path))
    assert fields == {"id": own.encode(), "payload": payload.encode()}
