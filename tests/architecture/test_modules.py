"""The size of modules, their names, and their imports."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, name_of, parsed, tracked
from tests.support.programs import command

LONGEST_MODULE, LONGEST_FUNCTION = 400, 40
NAMES_WITHOUT_MEANING = {
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "service",
    "services",
    "managers",
}
PURE = (
    "fleet/decision/*.py",
    "pods/price.py",
    "pods/states.py",
    "pods/rules.py",
    "pods/bottleneck.py",
    "pods/diagnosis.py",
    "pods/machine_names.py",
    "pods/catalogue/*.py",
    "pods/received.py",
    "pods/masking.py",
    "pods/plural.py",
    "pods/durations.py",
    "pods/amounts.py",
)
PURE_MODULES = (
    "fleet.decision",
    "pods.price",
    "pods.states",
    "pods.rules",
    "pods.bottleneck",
    "pods.diagnosis",
    "pods.machine_names",
    "pods.catalogue",
    "pods.received",
    "pods.masking",
    "pods.plural",
    "pods.durations",
    "pods.amounts",
)
OURS = (
    "podfleet/*.py",
    "config/**/*.py",
    "fleet/**/*.py",
    "pods/**/*.py",
    "config/*.py",
    "fleet/*.py",
    "pods/*.py",
)


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in tracked("*.py")}
    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    too_long = {
        f"{name_of(path)}:{function.name}": lines
        for path in tracked(*OURS)
        if "migrations" not in path.parts
        for function in ast.walk(parsed(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := lines_of(function)) > LONGEST_FUNCTION
    }
    assert too_long == {}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines from the first statement after the docstring to the end."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_module_has_a_name_without_meaning() -> None:
    names = {part for path in tracked("*.py") for part in (path.stem, path.parent.name)}
    assert names & NAMES_WITHOUT_MEANING == set()


def test_the_pure_modules_import_only_the_standard_library_and_each_other() -> None:
    paths = tracked(*PURE)
    assert len(paths) >= len(PURE)
    others = {
        f"{name_of(path)} imports {module}"
        for path in paths
        for module in imported(path)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not any(module == pure or module.startswith(f"{pure}.") for pure in PURE_MODULES)
    }
    assert others == set()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            # `from pods import states` also imports a module.
            whole = {f"{base}.{alias.name}" for alias in node.names} & set(PURE_MODULES)
            yield from whole or {base}


def test_the_agent_loads_neither_django_nor_celery_nor_anything_of_the_manager() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in tracked("pods/agent/*.py", "pods/agent/**/*.py")
    ]
    assert "pods.agent.protocol" in modules
    # `wordllama` needs an extra of its own; `__main__` runs when it is imported.
    modules = [m for m in modules if not m.endswith((".__main__", ".wordllama"))]
    printed = subprocess.check_output(command("loaded", *modules), cwd=ROOT, text=True)
    loaded = json.loads(printed)
    assert "pods.agent.loop" in loaded
    foreign = {"django", "celery", "kombu", "config", "fleet", "httpx", "pydantic", "structlog"}
    assert {m for m in loaded if m.partition(".")[0] in foreign} == set()
    assert {m for m in loaded if m.startswith("pods.") and not m.startswith("pods.agent")} == set()


def test_the_package_pods_is_empty_since_importing_the_agent_runs_it() -> None:
    assert (ROOT / "pods" / "__init__.py").read_text().strip() == ""


@pytest.mark.parametrize("contract", ["rooms", "fleet", "pods", "providers", "wire"])
def test_import_linter_checks_which_module_imports_which(contract: str) -> None:
    """`make lint` checks all contracts; these are the ones that must never be loosened."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(
        [*command, "--contract", contract], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout
