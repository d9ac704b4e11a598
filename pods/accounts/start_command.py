"""The start command of a machine whose image has no agent: compressed into one line."""

import ast
import base64
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[1] / "agent" / "start.py"
# Vast.ai takes 4,096 characters of arguments (vastai.md §3); its documents disagree, so stay below.
LONGEST: Final = 4_000


@cache
def start_command() -> Sequence[str]:
    """The words of the command. They hold no quote, `$`, `{` or backslash that a vendor could change."""
    packed = base64.b64encode(zlib.compress(short(SOURCE.read_text()).encode(), 9)).decode()
    program = "import sys,zlib,base64;exec(zlib.decompress(base64.b64decode(sys.argv[1])))"
    return "python3", "-c", program, packed


def short(source: str) -> str:
    """The same program without docstrings, comments and types."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            _drop_docstring(node)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args + [a for a in [node.args.vararg] if a]:
                argument.annotation = None
    return "\n".join(_indented(line) for line in ast.unparse(tree).splitlines())


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _indented(line: str) -> str:
    """One space for each level. No text of the bootstrap has more than one line."""
    code = line.lstrip(" ")
    return " " * ((len(line) - len(code)) // 4) + code
