"""Texts for people are not read by code: what a rule needs to know has a column of its own."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.architecture.tree import ROOT, name_of, parsed, tracked

PROSE: Final = {"because", "retire_because", "lost_because", "note", "last_error"}
COLUMNS: Final = re.compile(rf"(?:\w+__)?({'|'.join(sorted(PROSE))})(?:__(?P<lookup>\w+))?")
OURS: Final = tuple(
    f"{root}/{deep}*.py" for root in ("podfleet", "config", "fleet", "pods") for deep in ("", "**/")
)
# Pages show texts; the migration that filled the rules' columns read what was there before them.
MAY_READ: Final = {"pages", "admin", "templatetags", "migrations"}
PARTS: Final = {
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "partition", "rpartition",
    "split", "rsplit", "removeprefix", "removesuffix", "__contains__",
}  # fmt: skip
PATTERNS: Final = {"match", "search", "fullmatch", "findall", "finditer"}
QUERIES: Final = {"Q", "filter", "exclude", "get", "When"}
ROWS: Final = {"values", "values_list"}


def prose_in(node: ast.AST | None, aliases: frozenset[str] = frozenset()) -> bool:
    """Whether an expression holds one of the texts."""
    return node is not None and any(
        (isinstance(n, ast.Name) and n.id in PROSE | aliases)
        or (isinstance(n, ast.Attribute) and n.attr in PROSE)
        for n in ast.walk(node)
    )


def aliases_of(tree: ast.AST) -> frozenset[str]:
    """Names that are assigned from one of the texts, whole or in part."""
    return frozenset(
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript)
        and prose_in(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def reads_of_call(node: ast.Call, aliases: frozenset[str]) -> Iterator[str]:
    name = called(node)
    if (
        name in PARTS
        and isinstance(node.func, ast.Attribute)
        and prose_in(node.func.value, aliases)
    ):
        yield f".{name}() of a text"
    if name in PATTERNS and any(prose_in(arg, aliases) for arg in (*node.args, *node.keywords)):
        yield f"{name}() of a text"
    for keyword in node.keywords:
        column = COLUMNS.fullmatch(keyword.arg or "")
        if column and (column["lookup"] or name in QUERIES):
            yield f"a query for {keyword.arg}"
    for arg in node.args if name in ROWS else ():
        said = arg.value if isinstance(arg, ast.Constant) else None
        if isinstance(said, str) and COLUMNS.fullmatch(said):
            yield f"{name}() of {said}"


def reads(tree: ast.AST) -> Iterator[str]:
    """Each place where a text is taken apart, compared or asked for."""
    aliases = aliases_of(tree)
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Call):
            found += reads_of_call(node, aliases)
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if not all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
                found += (
                    ["a comparison of a text"] if any(prose_in(s, aliases) for s in sides) else []
                )
        elif isinstance(node, ast.Match) and prose_in(node.subject, aliases):
            found.append("a match of a text")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            column = COLUMNS.fullmatch(node.value)
            found += [f"a query for {node.value}"] if column and column["lookup"] else []
        yield from (f"{getattr(node, 'lineno', 0)}: {what}" for what in found)


def test_no_rule_reads_a_text_that_is_kept_for_people() -> None:
    paths = [p for p in tracked(*OURS) if not MAY_READ & {*p.relative_to(ROOT).parent.parts}]
    assert len(paths) > 150
    assert [f"{name_of(p)}:{what}" for p in paths for what in reads(parsed(p))] == []


@pytest.mark.parametrize(
    "code",
    [
        "pod.retire_because.startswith('hung')",
        "str(account.last_error).endswith('401')",
        "because.split(':')[0]",
        "'idle' in because",
        "pod.note in WORDS",
        "event.because == 'its agent sends heartbeats'",
        "re.match('hung', pod.because)",
        "PATTERN.search(string=pod.note)",
        "Q(retire_because__startswith=words)",
        "Q(pod__because__regex='x')",
        "Q(**{'because__contains': words})",
        "rows.filter(lost_because='')",
        "rows.values_list('pk', 'retire_because')",
        "why = pod.because\nif why.startswith('x'): ...",
        "match pod.because:\n  case 'x': ...",
    ],
)
def test_a_text_that_is_read_is_found(code: str) -> None:
    assert list(reads(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "lifecycle.move(pod, READY, because='its agent sends heartbeats')",
        "row.update(last_error=said)",
        "print(pod.because[:60])",
        "f'{pod.note}' if pod.note else ''",
        "pod.retire_rule in LOST_RULES",
        "because is None",
    ],
)
def test_a_text_that_is_written_or_shown_is_not(code: str) -> None:
    assert not list(reads(ast.parse(code)))
