"""The list of protective lines is up to date: each mutation applies, and its tests exist."""

import ast
import re
import subprocess
import sys

import pytest

from tests.mutations.lines import LINES, table
from tests.mutations.mutation import DoesNotApply, Mutation
from tests.mutations.running import ROOT, Became
from tests.mutations.samples import BROKEN


@pytest.mark.parametrize("mutation", LINES, ids=lambda m: m.name)
def test_a_mutation_applies_once_and_its_result_is_code(mutation: Mutation) -> None:
    changed = mutation.applied(ROOT)
    assert changed != (ROOT / mutation.file).read_text()
    if mutation.file.endswith(".py"):
        ast.parse(changed)


def test_the_tests_of_each_mutation_exist() -> None:
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


def test_every_name_is_unique() -> None:
    names = [mutation.name for mutation in LINES]
    assert len(names) == len(set(names))


def test_the_page_lists_every_mutation() -> None:
    assert table() in (ROOT / "docs/explanation/protective-lines.md").read_text()


def test_a_text_that_does_not_occur_exactly_once_is_an_error() -> None:
    with pytest.raises(DoesNotApply, match=r"times in pods/states\.py"):
        BROKEN.applied(ROOT)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_line_without_a_test_is_missed_and_a_line_with_a_test_is_caught() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations.samples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [Became.CAUGHT, Became.MISSED, Became.BROKEN]
