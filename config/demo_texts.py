"""The texts of the demo: every docstring of Python's standard library, or the user's own files."""

import ast
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_FILE: Final = 3_000
SUFFIXES: Final = {".txt", ".jsonl", ".parquet"}
DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class NoTexts(Exception):
    """There is nothing to embed; the message says which folder was searched."""


def _docstrings(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's files, such as invalid escapes
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the library ships broken files for its own tests
        return
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def write_docstrings(folder: Path, *, progress: Callable[[int, int], None]) -> int:
    """Write each docstring as a row `id`, `text` of Parquet files; return the number of rows.

    `progress` is called with (files done, files in all).
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [f for f in sorted(library.rglob("*.py")) if "site-packages" not in f.parts]
    ids: list[str] = []
    texts: list[str] = []
    for done, file in enumerate(files, start=1):
        name = file.relative_to(library).as_posix()
        for line, text in _docstrings(file):
            ids.append(f"{name}:{line}:{len(ids)}")
            texts.append(text)
        progress(done, len(files))
    for first in range(0, len(ids), ROWS_PER_FILE):
        rows = slice(first, first + ROWS_PER_FILE)
        table = pa.table({"id": ids[rows], "text": [_printable(text) for text in texts[rows]]})
        pq.write_table(table, folder / f"docstrings-{first // ROWS_PER_FILE}.parquet")
    return len(ids)


def _printable(text: str) -> str:
    """The text without halves of characters, which the library has for its tests and UTF-8 has not."""
    return text.encode("utf-8", "backslashreplace").decode()


def users_files(folder: Path) -> list[Path]:
    """The .txt, .jsonl and .parquet files under a folder.

    Raises:
        NoTexts: the folder has no such files.
    """
    files = sorted(f for f in folder.rglob("*") if f.suffix in SUFFIXES and f.is_file())
    if not files:
        raise NoTexts(
            f"no .txt, .jsonl or .parquet file under {folder}; DEMO_TEXTS names a folder of such files"
        )
    return files
