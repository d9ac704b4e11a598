"""The texts of the demo: every docstring of Python's standard library, or the user's own files."""

import ast
import json
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class NoTexts(Exception):
    """There is nothing to embed; the message says which folder was searched."""


def _docstrings(file: Path) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the library ships broken files for its own tests
        return
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def write_docstrings(out: Path, *, progress: Callable[[int, int], None]) -> int:
    """Write each docstring as a line `{"id", "payload"}`; return the number of lines.

    `progress` is called with (files done, files in all). The file appears whole or not at all.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [f for f in sorted(library.rglob("*.py")) if "site-packages" not in f.parts]
    draft, count = out.with_suffix(".draft"), 0
    with draft.open("w", encoding="utf-8") as lines:
        for done, file in enumerate(files, start=1):
            name = file.relative_to(library).as_posix()
            for line, text in _docstrings(file):
                lines.write(json.dumps({"id": f"{name}:{line}:{count}", "payload": text}) + "\n")
                count += 1
            progress(done, len(files))
    draft.replace(out)
    return count


def users_files(folder: Path) -> list[Path]:
    """The .txt and .jsonl files under a folder.

    Raises:
        NoTexts: the folder has no such files.
    """
    files = sorted(f for f in folder.rglob("*") if f.suffix in {".txt", ".jsonl"} and f.is_file())
    if not files:
        raise NoTexts(
            f"no .txt or .jsonl file under {folder}; DEMO_TEXTS names a folder of such files"
        )
    return files
