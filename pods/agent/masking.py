"""Takes the fleet's secrets out of texts that leave this process: errors, notes and its output."""

import json
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "***"
# A shorter value, such as "1" or "true", is in too many texts that have nothing to do with it.
SHORTEST = 4
SHORTEST_LINE = 16  # of a value with several lines, such as a key in PEM
# Variables that travel as secrets do and are none. An error is easier to understand with them.
PLAIN = {
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_SKIP_SIGNATURE"),
    *("AWS_REQUEST_PAYER", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AZURE_STORAGE_ACCOUNT_NAME"),
    *("AZURE_STORAGE_ENDPOINT", "AZURE_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE"),
}
# A text may still have a value that was changed since.
_sets: "deque[tuple[str, ...]]" = deque(maxlen=16)
_known: "tuple[str, ...]" = ()  # the longest first


def know(values: Mapping[str, str]) -> None:
    """From now on hide these values too, and for some time those that were known before."""
    global _known  # noqa: PLW0603 - one process has one set of secrets
    _sets.append(tuple(forms(values)))
    _known = tuple(sorted({form for each in _sets for form in each}, key=len, reverse=True))


def forms(values: Mapping[str, str]) -> "Iterable[str]":
    """The texts that show one of these values: itself, its lines, and as it is written elsewhere."""
    for name, value in values.items():
        if name in PLAIN:
            continue
        lines = [line.strip() for line in value.splitlines()]
        for text in [value, value.strip(), *(ln for ln in lines if len(ln) >= SHORTEST_LINE)]:
            if len(text) < SHORTEST:
                continue
            yield text
            yield json.dumps(text)[1:-1]
            yield repr(text)[1:-1]
            yield quote(text, safe="")


def hidden(text: str) -> str:
    """The text with a mask for each secret in it."""
    for form in _known:
        text = text.replace(form, MASK)
    return text


def hide_in_output() -> None:
    """Hide secrets in what this process prints, as far as Python writes it."""
    sys.stdout, sys.stderr = _Hiding(sys.stdout), _Hiding(sys.stderr)
    # Celery logs to these
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc,assignment]


class _Hiding:
    """A stream of text that hides secrets, and is the original one in all else."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without secrets."""
        self._stream.write(hidden(text))
        return len(text)

    def writelines(self, lines: "Iterable[str]") -> None:
        """Write the lines without secrets."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
