"""The search for conditions: what it finds, what its changes do, and what is excused."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.mutations.conditionals import caches, keeping
from tests.mutations.conditionals.finding import LEFT_OUT, SEARCHED, excused, sources
from tests.mutations.conditionals.instrumenting import instrumented
from tests.mutations.conditionals.keeping import Seen, Trial, Witnesses
from tests.mutations.conditionals.mutant import Mutant
from tests.mutations.conditionals.naming import Named
from tests.mutations.conditionals.scripts import changes, mutants_of
from tests.mutations.conditionals.trying import a_copy
from tests.mutations.mutation import Mutation
from tests.mutations.running import ROOT

FOLDER = ROOT / "tests" / "mutations" / "conditionals"
CODE = '''
def size(n, most):
    """A docstring."""
    if n > 10 and most:
        return "large"
    return f"{n} item{'s' if n != 1 else ''} of {'all'!r:>6}"

def some(numbers):
    return [n for n in numbers if n > 2]

def first(a, b):
    return a or b

def is_odd(n):
    return n % 2 == 1

def asked(rows):
    return rows.filter(1, state="ready").exclude(old=True)

def word(n):
    match n:
        case 1:
            return "one"
        case _:
            return "many"

def kept(numbers):
    return list(filter(bool, numbers))
'''


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The probe that the rewritten code imports."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "mutation_probe", raising=False)
    yield importlib.import_module("mutation_probe").PROBE
    sys.modules.pop("mutation_probe", None)


def rewritten(code: str) -> tuple[dict[str, Any], dict[str, Mutant]]:
    """The functions of the rewritten code, and its mutants by text and change."""
    text, mutants, _ = instrumented(code, "x.py", str(FOLDER), first=0, place=0)
    names: dict[str, Any] = {}
    exec(compile(text, "x.py", "exec"), names)
    return names, {f"{m.text} -> {m.change}": m for m in mutants}


class Rows:
    """Keeps how it was asked, as a query does."""

    def __init__(self, *asked: str) -> None:
        self.asked = asked

    def filter(self, *args: int, **words: str) -> "Rows":
        return Rows(*self.asked, *map(str, args), *words)

    def exclude(self, **words: bool) -> "Rows":
        return Rows(*self.asked, *(f"no {word}" for word in words))

    def all(self) -> "Rows":
        return self


def test_without_a_mutant_the_rewritten_code_does_the_same(probe: Any) -> None:
    names, _ = rewritten(CODE)
    original: dict[str, Any] = {}
    exec(CODE, original)
    for n in range(13):
        assert names["size"](n, n % 2) == original["size"](n, n % 2)
        assert names["word"](n) == original["word"](n)
    assert names["some"]([1, 2, 3]) == [3]
    assert names["first"]("", "b") == "b"
    assert names["asked"](Rows()).asked == ("1", "state", "no old")
    assert names["kept"]([0, 1]) == [1]


@pytest.mark.parametrize(
    ("mutant", "function", "arguments", "answer"),
    [
        ("n > 10 and most -> True", "size", (1, False), "large"),
        ("n > 10 and most -> False", "size", (11, True), "11 items of  'all'"),
        ("n > 10 and most -> without n > 10", "size", (1, True), "large"),
        ("n > 10 and most -> without most", "size", (11, False), "large"),
        ("n != 1 -> False", "size", (3, False), "3 item of  'all'"),
        ("n > 2 -> True", "some", ([1, 3],), [1, 3]),
        ("a or b -> without a", "first", ("a", "b"), "b"),
        ("a or b -> without b", "first", ("", "b"), ""),
        ("n % 2 == 1 -> True", "is_odd", (2,), True),
        ("1 -> no case", "word", (1,), "many"),
        ("filter(bool, numbers) -> all of it", "kept", ([0, 1],), [0, 1]),
    ],
)
def test_a_mutant_that_is_on_changes_the_answer(
    probe: Any, mutant: str, function: str, arguments: tuple[Any, ...], answer: Any
) -> None:
    names, mutants = rewritten(CODE)
    assert names[function](*arguments) != answer
    probe.on = mutants[mutant].number
    assert names[function](*arguments) == answer


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ("without 1", ("state", "no old")),
        ("without state='ready'", ("1", "no old")),
        ("no exclude", ("1", "state")),
    ],
)
def test_each_argument_of_a_query_is_left_out(
    probe: Any, change: str, asked: tuple[str, ...]
) -> None:
    names, mutants = rewritten(CODE)
    probe.on = next(m.number for m in mutants.values() if m.change == change)
    assert names["asked"](Rows()).asked == asked


def test_a_recording_holds_the_values_by_which_a_mutant_can_be_noticed(
    probe: Any, tmp_path: Path
) -> None:
    names, mutants = rewritten(
        "def f(n):\n    if n > 1:\n        return 'more'\n    return 'one'\n"
    )
    probe.begin(str(tmp_path / "saw"))
    names["f"](1)
    saw = {(int(word[:-1]), word[-1]) for word in (tmp_path / "saw").read_text().split()}
    assert saw.issuperset(mutants["n > 1 -> True"].seen_as)
    assert saw.isdisjoint(mutants["n > 1 -> False"].seen_as)


def test_a_condition_of_a_script_is_taken_out_whole_and_by_its_parts() -> None:
    source = "-- if this then that\nif a == 1 and f(b or c) then\n  x()\nend\n"
    found = mutants_of(source, "x.lua", first=7)
    assert [m.change for m in found] == ["true", "false", "f(b or c)", "a == 1"]
    assert [m.number for m in found] == [7, 8, 9, 10]
    assert found[0].script == "-- if this then that\nif true then\n  x()\nend\n"
    assert list(changes("not a or b or c")) == [
        *("true", "false", "b or c", "not a or c", "not a or b"),
    ]


def test_only_new_and_changed_tests_are_recorded_again() -> None:
    seen = Seen(stamps={"t/test_a.py": "1", "t/test_b.py": "1"})
    assert seen.stale({"t/test_a.py": "1", "t/test_b.py": "2", "t/test_c.py": "1"}) == [
        *("t/test_b.py", "t/test_c.py"),
    ]


def test_a_mutant_is_tried_by_the_tests_that_saw_the_value_which_it_changes() -> None:
    _, mutants, places = instrumented(
        "def f(n):\n    if n:\n        return n\n", "x.py", "/f", first=0, place=0
    )
    true, false = mutants
    assert (true.change, false.change) == ("True", "False")
    saw = {"fast": (1.0, "t"), "slow": (2.0, "t"), "other": (3.0, "f")}
    seen = Seen(
        tests={
            name: {"seconds": seconds, "failed": False, "saw": [f"{places[0]}{value}"]}
            for name, (seconds, value) in saw.items()
        }
    )
    seen.tests["fails"] = {"seconds": 0.1, "failed": True, "saw": [f"{places[0]}t"]}
    witnesses = Witnesses(seen)
    assert witnesses.of(false, places) == {"fast": 1.0, "slow": 2.0}
    assert witnesses.of(true, places) == {"other": 3.0}
    _, [changed, _], places = instrumented(
        "def f(n):\n    if n:\n        return 1\n", "x.py", "/f", first=0, place=0
    )
    assert list(witnesses.of(changed, places)) == ["fast", "slow", "other"]


def test_resuming_leaves_out_what_was_caught_in_an_unchanged_function_and_begins_with_the_new(
    probe: Any,
) -> None:
    _, mutants = rewritten("def f(n):\n    return n > 1\n")
    true, false = mutants.values()
    caught = Trial(became="caught", stamp=true.stamp)
    assert keeping.again([true, false], {true.name: caught}) == [false]
    changed = Trial(became="caught", stamp="another")
    missed = Trial(became="missed", stamp=false.stamp)
    trials = {true.name: changed, false.name: missed}
    assert keeping.again([false, true], trials) == [true, false]


def test_other_tests_come_before_more_cases_of_the_same_test() -> None:
    _, [true, _], places = instrumented(
        "def f(n):\n    if n:\n        return n\n", "x.py", "/f", first=0, place=0
    )
    seconds = {"a[1]": 0.2, "a[2]": 0.2, "a[3]": 0.2, "b": 0.3}
    tests = {
        name: {"seconds": each, "failed": False, "saw": [f"{places[0]}f"]}
        for name, each in seconds.items()
    }
    assert list(Witnesses(Seen(tests=tests)).of(true, places)) == ["a[1]", "b", "a[2]", "a[3]"]


def test_a_test_that_only_met_another_value_comes_after_those_that_met_the_one_that_changes() -> (
    None
):
    _, [mutant, _], places = instrumented(
        "def f(n):\n    if g(n):\n        return n\n", "x.py", "/f", first=0, place=0
    )
    tests = {
        name: {"seconds": seconds, "failed": False, "saw": [f"{places[0]}{value}"]}
        for name, seconds, value in (("true", 0.1, "t"), ("false", 0.4, "f"))
    }
    assert list(Witnesses(Seen(tests=tests)).of(mutant, places)) == ["false", "true"]


def test_what_passed_with_a_change_counts_until_the_test_or_the_function_changes(
    probe: Any,
) -> None:
    _, mutants = rewritten("def f(n):\n    return n > 1\n")
    mutant = mutants["n > 1 -> True"]
    passed = {"t/test_a.py::test_it": "1", "t/test_b.py::test_it": "1"}
    trial = Trial(became="missed", stamp=mutant.stamp, passed=passed)
    seen = Seen(stamps={"t/test_a.py": "1", "t/test_b.py": "2"})
    assert seen.passed(mutant, trial) == {"t/test_a.py::test_it": "1"}
    assert seen.passed(mutant, None) == {}
    assert seen.passed(mutant, Trial(became="missed", stamp="another", passed=passed)) == {}


def test_the_list_of_protective_lines_names_tests_for_each_of_its_lines(tmp_path: Path) -> None:
    code = "def f(n):\n    if n:\n        return n\n"
    (tmp_path / "x.py").write_text(code)
    texts = {"first": "def f", "both": "    if n:\n        return"}
    lines = [
        Mutation(name=name, file="x.py", before=before, after="", tests=(f"t.py::{name}",))
        for name, before in texts.items()
    ]
    _, [mutant, _], _ = instrumented(code, "x.py", "/f", first=0, place=0)
    named = Named(tmp_path, lines)
    assert named.of(mutant) == {"t.py::both"}
    assert [set(named.of(replace(mutant, line=n))) for n in (1, 3, 4)] == [
        *({"t.py::first"}, {"t.py::both"}, set()),
    ]


def test_what_functions_remember_is_forgotten_before_a_change_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modules = {}
    for name in ("ours.part", "theirs"):
        modules[name] = ModuleType(name)
        modules[name].__dict__["answer"] = cache(object)
        monkeypatch.setitem(sys.modules, name, modules[name])
    before = {name: module.answer() for name, module in modules.items()}
    caches.forget({"ours"})
    assert modules["ours.part"].answer() is not before["ours.part"]
    assert modules["theirs"].answer() is before["theirs"]


def test_a_slow_test_that_was_not_recorded_again_keeps_what_it_saw() -> None:
    def test(seconds: float) -> dict[str, Any]:
        return {"seconds": seconds, "failed": False, "saw": ["x.py f@1 1t"]}

    seen = Seen(tests={"t.py::slow": test(9.0), "t.py::old": test(1.0)})
    assert seen.slow(5.0) == {"t.py::slow"}
    new = {"test": "t.py::new", "seconds": 1.0, "failed": False, "saw": ["0f"]}
    seen.add("t.py", [new], ["x.py f@2 1"], left_out={"t.py::slow"})
    assert set(seen.tests) == {"t.py::slow", "t.py::new"}
    assert seen.tests["t.py::new"]["saw"] == ["x.py f@2 1f"]


def test_every_file_of_the_searched_folders_has_its_conditions_and_each_name_is_unique() -> None:
    found = sources(ROOT, "/nowhere")
    names = [mutant.name for source in found for mutant in source.mutants]
    assert len(names) == len(set(names)) > 3000
    files = {source.file for source in found}
    assert {"pods/spawning.py", "pods/agent/scripts/claim.lua", "fleet/tick/ticking.py"} <= files
    assert all(file.startswith(SEARCHED) and not file.startswith(LEFT_OUT) for file in files)
    for source in found:
        if source.file.endswith(".py"):
            compile(source.rewritten, source.file, "exec")


def test_each_excused_mutant_exists_and_has_a_reason() -> None:
    names = {mutant.name for source in sources(ROOT, "") for mutant in source.mutants}
    assert set(excused()) <= names
    assert all(len(reason) > 20 for reason in excused().values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_test_sees_is_caught_and_what_no_test_sees_is_unmet() -> None:
    with a_copy() as copy:
        seen = Seen()
        assert list(copy.record(["tests/unit/pods/test_price.py"], seen)) == [
            "tests/unit/pods/test_price.py"
        ]
        seen.stamps["tests/unit/pods/test_price.py"] = "as it is"  # the command notes it
        mutants = [m for s in copy.sources if s.file == "pods/price.py" for m in s.mutants]
        trials = dict(copy.try_out(mutants, seen, 60.0))
        (other,) = [s for s in copy.sources if s.file == "pods/states.py"]
        unmet = dict(copy.try_out(other.mutants, seen, 60.0))
    assert {trial.became for trial in trials.values()} == {"caught"}
    assert {trial.became for trial in unmet.values()} == {"unmet"}
