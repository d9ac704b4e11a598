"""What the demo and `up` print for people: a line to copy, and places that are right from here."""

import ast
import shlex
import subprocess
import warnings
from pathlib import Path

import pytest

from config import demo_texts
from config.management.commands.demo import _reading
from config.management.commands.up import _place


@pytest.mark.parametrize("sink", ["/srv/vectors", '/srv/o\'hara/a "b" $HOME `x` \\n/é'])
def test_the_line_that_reads_the_parts_is_right_for_the_shell_and_for_python(sink: str) -> None:
    line = _reading("printf", sink).replace(" -c ", " %s ")
    code = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert sink in [n.value for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Constant)]
    assert shlex.split(_reading("/opt/o'hara/python", sink))[0] == "/opt/o'hara/python"


def test_other_peoples_docstrings_are_read_without_warnings(tmp_path: Path) -> None:
    file = tmp_path / "old.py"
    file.write_text('def f():\n    "A \\d in a docstring."\n')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(demo_texts._docstrings(file)) == [(1, "A \\d in a docstring.")]
    assert caught == []


def test_a_folder_is_relative_only_below_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert _place(here / "var" / "log") == "var/log"
    assert _place(Path("var/log")) == "var/log"
    assert _place(tmp_path / "h1" / "log") == f"{tmp_path}/h1/log"
