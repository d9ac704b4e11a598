"""The folders of the tests, and what the tests import from each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import name_of, parsed, tracked

# Classes that a test file subclasses; docs/providers.md shows how.
CONTRACTS = {"tests/contract/provider_contract.py", "tests/contract/vendor_contract.py"}
EXAMPLE = "tests/contract/example_provider/"  # a separate package, as a user would write it
SUITES = ("tests/unit/**/*.py", "tests/integration/**/*.py", "tests/browser/*.py")


def imported(path: Path) -> Iterator[str]:
    """Every module or name that a file imports."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_a_test(module: str) -> bool:
    """Whether a dotted name goes through a test module or a conftest."""
    parts = module.split(".")
    return parts[0] == "tests" and any(
        part == "conftest" or part.startswith("test_") for part in parts
    )


def test_nothing_is_imported_from_a_test_module_or_a_conftest() -> None:
    paths = tracked("tests/*.py", "tests/**/*.py")
    assert len(paths) > 100
    found = {
        f"{name_of(path)} imports {module}"
        for path in paths
        for module in imported(path)
        if is_a_test(module)
    }
    assert found == set()


def test_the_support_modules_import_no_test() -> None:
    found = {
        f"{name_of(path)} imports {module}"
        for path in tracked("tests/support/*.py", "tests/support/**/*.py")
        for module in imported(path)
        if module.startswith("tests.") and not module.startswith("tests.support")
    }
    assert found == set()


def test_a_folder_of_tests_contains_only_tests() -> None:
    others = {
        name_of(path)
        for path in tracked(*SUITES, "tests/contract/*.py", "tests/contract/**/*.py")
        if not path.stem.startswith("test_") and path.stem not in {"__init__", "conftest"}
    }
    assert {name for name in others if not name.startswith(EXAMPLE)} == CONTRACTS
