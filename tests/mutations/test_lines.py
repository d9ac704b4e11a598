"""The list of protective lines cannot rot: each still applies, and its tests exist."""

import ast
import re
import subprocess
import sys

import pytest

from tests.mutations.lines import LINES, table
from tests.mutations.mutation import DoesNotApply, Mutation
from tests.mutations.running import ROOT, Became

BROKEN = Mutation(
    name="x", file="pods/states.py", before="ENDED", after="", tests=("tests/none.py",)
)

STATES = "tests/unit/pods/test_states.py::test_an_ended_row_can_only_be_ended_again"
CAUGHT = Mutation(
    name="y",
    file="pods/states.py",
    before="TERMINATED: frozenset({TERMINATING}),",
    after="TERMINATED: frozenset({TERMINATING, READY}),",
    tests=(STATES,),
)
MISSED = Mutation(
    name="z",
    file="pods/states.py",
    before='"""The states of a pod',
    after='"""States of a pod',
    tests=(STATES,),
)
SAMPLES = (CAUGHT, MISSED, BROKEN)


@pytest.mark.parametrize("mutation", LINES, ids=lambda m: m.name)
def test_a_mutation_applies_once_and_is_code(mutation: Mutation) -> None:
    changed = mutation.applied(ROOT)
    assert changed != (ROOT / mutation.file).read_text()
    if mutation.file.endswith(".py"):
        ast.parse(changed)


def test_its_tests_exist() -> None:
    written = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    for mutation in LINES:
        assert mutation.tests, mutation.name
        for test in mutation.tests:
            file, *names = test.split("::")
            assert (ROOT / file).is_file(), test
            assert not names or names[-1] in written, test


def test_names_are_told_apart() -> None:
    names = [mutation.name for mutation in LINES]
    assert len(names) == len(set(names))


def test_the_page_has_each_of_them() -> None:
    assert table() in (ROOT / "docs/explanation/protective-lines.md").read_text()


def test_a_text_that_is_not_there_exactly_once_is_an_error() -> None:
    with pytest.raises(DoesNotApply, match=r"times in pods/states\.py"):
        BROKEN.applied(ROOT)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_line_that_no_test_needs_is_missed_and_one_that_a_test_needs_is_caught() -> None:
    code = (
        "from tests.mutations import test_lines as t; from tests.mutations.running import *\n"
        "with copied() as copy: print(*(try_out(copy, m).became for m in t.SAMPLES))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [Became.CAUGHT, Became.MISSED, Became.BROKEN]
