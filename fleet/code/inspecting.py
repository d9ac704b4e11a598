"""Checks a fleet's code by reading it. Nothing of it is imported or run. Pure."""

import ast
import keyword
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from fleet.code.dependencies import BadCode

# Names that the agent needs; a module of the user's would hide them.
TAKEN: Final = frozenset({"pods", "redis", "hiredis"})
# What a part of a handler's module may be: see fleet/models/choices.py.
IMPORTABLE: Final = re.compile(r"[A-Za-z_]\w*")


def check(sources: Mapping[str, bytes], handler: str, paths: Sequence[str]) -> None:
    """Check the syntax of all sources, and that the handler's module has its function.

    Raises:
        BadCode: it does not; the message says where and what would be right.
    """
    for name, body in sources.items():
        _parsed(name, body)
    for name in sources:
        _refuse_hiding(name)
    check_handler(sources, handler, paths)


def check_handler(sources: Mapping[str, bytes], handler: str, paths: Sequence[str]) -> None:
    """Check that the handler's module is there and has its function.

    Raises:
        BadCode: it is not, or has it not; the message says what would be right.
    """
    module, _, attribute = handler.partition(":")
    if not module or not attribute:
        raise BadCode(f"the handler {handler!r} is not module:function")
    file = _file_of(module, sources, paths)
    if file is None:
        if module.startswith("pods.agent.handlers."):
            return
        known = ", ".join(sorted(sources)) or "no Python file"
        raise BadCode(f"the handler {handler} is not in the code: no module {module} among {known}")
    check_module(module, file)
    names = names_of(file, sources[file])
    if attribute.partition(".")[0] not in names and "*" not in names:
        there = ", ".join(sorted(n for n in names if not n.startswith("_"))) or "nothing"
        raise BadCode(
            f"{file} has no {attribute}, which the handler {handler} names; it has {there}. Write "
            f"`def {attribute}(batch): …`, or name another function as the handler: {module}:NAME"
        )


def check_module(module: str, file: str) -> None:
    """Check that a handler may name this module, whose file is `file`.

    Raises:
        BadCode: it cannot be imported by its name; the message says which name would be right.
    """
    parts = [module] if module == PurePosixPath(file).stem else module.split(".")
    for number, part in enumerate(parts):
        right = _importable(part, first=number == 0)
        if right != part:
            ending = ".py" if number == len(parts) - 1 and file.endswith(f"{part}.py") else ""
            raise BadCode(
                f"{part}{ending} cannot be imported under this name; rename it to {right}{ending}"
            )


def _importable(name: str, *, first: bool) -> str:
    """The name itself if a handler may have it, else one like it."""
    if first and name == "__main__":  # on a pod this is the agent
        return "main"
    if keyword.iskeyword(name):
        return f"{name}_"
    if IMPORTABLE.fullmatch(name) and name.isidentifier():
        return name
    right = re.sub(r"\W", "_", name)
    return right if IMPORTABLE.fullmatch(right) else f"_{right}"


def _refuse_hiding(name: str) -> None:
    """Refuse a file that would be imported instead of a module of the agent or of Python."""
    folder, _, rest = name.removeprefix("src/").partition("/")
    first = folder.removesuffix(".py")
    if first in TAKEN:
        raise BadCode(f"{name} would hide the package {first} of the agent; rename it")
    # A folder without __init__.py hides nothing: Python prefers a module with a file.
    if first in sys.stdlib_module_names and rest in {"", "__init__.py"}:
        raise BadCode(f"{name} would hide the module {first} of Python; rename it")


def names_of(name: str, body: bytes) -> set[str]:
    """The names that a module of this source has at its top.

    Raises:
        BadCode: it is not Python.
    """
    return set(_top_names(_parsed(name, body).body))


def _parsed(name: str, body: bytes) -> ast.Module:
    try:
        return ast.parse(body, name)
    except SyntaxError as exc:
        raise BadCode(f"{name}, line {exc.lineno}: {exc.msg}: {(exc.text or '').strip()}") from exc
    except (ValueError, RecursionError, MemoryError) as exc:
        raise BadCode(f"{name} cannot be read as Python: {exc or type(exc).__name__}") from exc


def _file_of(module: str, sources: Mapping[str, bytes], paths: Sequence[str]) -> str | None:
    inside = module.replace(".", "/")
    for path in paths:
        begin = "" if path == "." else f"{path}/"
        for name in (f"{begin}{inside}.py", f"{begin}{inside}/__init__.py"):
            if name in sources:
                return name
    return None


def _top_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module gives itself; `*` where it imports unknown ones."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom():
                yield from (a.asname or a.name.partition(".")[0] for a in node.names)
            case ast.If() | ast.For() | ast.While() | ast.Try() | ast.With():
                yield from _top_names(list(_blocks(node)))
            case _:
                yield from _assigned(node)


def _blocks(node: ast.stmt) -> Iterator[ast.stmt]:
    for name in ("body", "orelse", "finalbody"):
        yield from getattr(node, name, [])
    for handled in getattr(node, "handlers", []):
        yield from handled.body


def _assigned(node: ast.stmt) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
