"""Finds the conditions of a Lua script, by its text: each is on one line."""

import re
from collections.abc import Iterator
from typing import Final

from tests.mutations.conditionals.instrumenting import stamp
from tests.mutations.conditionals.mutant import Mutant

BRANCH: Final = re.compile(r"\b(?P<word>if|elseif|while)\s+(?P<test>.+?)\s+(?:then|do)\b")
JOINS: Final = re.compile(r" (and|or) ")


def mutants_of(source: str, file: str, *, first: int) -> list[Mutant]:
    """The mutants of a script, numbered from `first`; each has the whole text with its change."""
    made: list[Mutant] = []
    start = 0
    for line, text in enumerate(source.splitlines(keepends=True), 1):
        code = text.partition("--")[0]
        for branch in BRANCH.finditer(code):
            test = branch["test"]
            for change in changes(test):
                at = start + branch.start("test")
                again = sum(m.text == test and m.change == change for m in made)
                made.append(
                    Mutant(
                        number=first + len(made),
                        file=file,
                        line=line,
                        function="",
                        kind="script",
                        text=test,
                        change=change,
                        again=again,
                        stamp=stamp(source),
                        script=source[:at] + change + source[at + len(test) :],
                    )
                )
        start += len(text)
    return made


def changes(test: str) -> Iterator[str]:
    """What takes the place of a condition: true, false, and the condition without each operand."""
    yield "true"
    yield "false"
    joins = [found for found in JOINS.finditer(test) if _outside(test[: found.start()])]
    parts = _parts(test, joins)
    for n in range(len(parts) if joins else 0):
        words = [join[1] for join in joins]
        left = parts[:n] + parts[n + 1 :]
        rest = words[1:] if n == 0 else words[: n - 1] + words[n:]
        yield left[0] + "".join(
            f" {word} {part}" for word, part in zip(rest, left[1:], strict=True)
        )


def _parts(test: str, joins: list[re.Match[str]]) -> list[str]:
    ends = [join.start() for join in joins] + [len(test)]
    starts = [0] + [join.end() for join in joins]
    return [test[a:b] for a, b in zip(starts, ends, strict=True)]


def _outside(before: str) -> bool:
    return before.count("(") == before.count(")") and before.count("[") == before.count("]")
