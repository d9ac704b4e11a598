"""A command ends quietly where nobody reads its output, and loses no other fault."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import pytest

from pods.base.closed_output import ENDED_BY_SIGPIPE, ending_quietly


@contextmanager
def printing_into_a_pipe() -> Iterator[int]:
    """Standard output is a pipe meanwhile; gives the end to read."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as output, redirect_stdout(output):
        yield reader


def test_a_command_ends_quietly_when_its_reader_has_left() -> None:
    with printing_into_a_pipe() as reader:
        os.close(reader)
        with pytest.raises(SystemExit) as ended, ending_quietly():
            sys.stdout.write("a line\n")
    assert ended.value.code == ENDED_BY_SIGPIPE


def test_what_was_printed_is_there_when_the_block_ends() -> None:
    with printing_into_a_pipe() as reader:
        os.set_blocking(reader, False)
        with ending_quietly():
            sys.stdout.write("a line\n")
        assert os.read(reader, 100) == b"a line\n"
    os.close(reader)


def test_a_broken_pipe_of_something_else_is_shown() -> None:
    with printing_into_a_pipe() as reader:
        with pytest.raises(BrokenPipeError), ending_quietly():
            raise BrokenPipeError("of a server")
        os.close(reader)


def test_a_program_without_standard_output_ends_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    ran = False
    with ending_quietly():
        ran = True
    assert ran
