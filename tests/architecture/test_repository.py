"""What the repository must contain, and what it must never contain."""

import ast
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from pods.providers import registry
from tests.architecture.tree import ROOT, name_of, parsed, texts, tracked

LOCKS = ("requirements.lock", "requirements-dev.lock")
# In pieces, so that this file does not name them.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "deb." + "debian.org"]
HOME = re.compile(r"(?<![\w.~$}/])/(?:work|root|home/\w+|Users/\w+)/(?!\.\.\.)[\w.]")
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(\[[\w,-]+\])?==([^ ;\\]+)( ; [^\\]+)? ?\\?$")
LAST_FAULT = 70


def pins(lock: str) -> dict[str, str]:
    """The version of each package; fails on a line that is not a pin with hashes."""
    found: dict[str, str] = {}
    hashed: set[str] = set()
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.startswith("    --hash=sha256:"):
            hashed.add(name)
            continue
        match = PINNED.match(line)
        assert match, f"{lock}: {line}"
        name = match[1].lower()
        found[name] = match[3]
    assert set(found) == hashed
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", wanted)[0].lower() for wanted in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_pin_with_hashes_and_names_no_host(lock: str) -> None:
    assert len(pins(lock)) > 50
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_the_runtime_versions_are_the_tested_versions() -> None:
    runtime, dev = map(pins, LOCKS)
    assert runtime.items() <= dev.items()


def test_the_locks_contain_each_direct_dependency() -> None:
    declared = project()
    runtime = names(declared["project"]["dependencies"])
    assert runtime <= pins("requirements.lock").keys()
    dev = names(declared["dependency-groups"]["dev"])
    assert dev <= pins("requirements-dev.lock").keys()


def test_the_documentation_explains_each_direct_dependency() -> None:
    declared = project()
    wanted = names(declared["project"]["dependencies"]) | names(
        declared["dependency-groups"]["dev"]
    )
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text()
    explained = set(re.findall(r"^\| `([\w.-]+)` \| \S.{20,} \|$", page, re.MULTILINE))
    assert explained == wanted


def test_pre_commit_runs_the_versions_of_the_lock() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    asked = [
        wanted
        for hook in config["repos"][0]["hooks"]
        for wanted in hook.get("additional_dependencies", [])
    ]
    assert asked
    locked = pins("requirements-dev.lock")
    assert [
        w for w in asked if w != f"{w.partition('==')[0]}=={locked[w.partition('==')[0]]}"
    ] == []


def test_no_file_names_a_package_registry() -> None:
    found = {name for name, text in texts() for host in REGISTRIES if host in text}
    assert found == set()


def test_no_file_names_a_folder_of_a_developers_machine() -> None:
    found = {f"{name}: {m[0]}" for name, text in texts() for m in HOME.finditer(text)}
    assert found == set()
    assert [name for name, text in texts() if f"{ROOT}/" in text] == []


def test_every_fault_number_exists() -> None:
    marks = [
        (f"{name_of(path)}:{call.lineno}", arg)
        for path in tracked("tests/*.py", "tests/**/*.py")
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "fault"
        for arg in (call.args or (None,))
    ]
    assert marks
    wrong = {
        where
        for where, arg in marks
        if not (isinstance(arg, ast.Constant) and arg.value in range(1, LAST_FAULT + 1))
    }
    assert wrong == set()


def test_every_fault_of_the_list_is_caused_by_a_test() -> None:
    caused = {
        call.args[0].value
        for path in tracked("tests/*.py", "tests/**/*.py")
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "fault"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert set(range(1, LAST_FAULT + 1)) - caused == set()


def test_every_provider_has_a_contract_test() -> None:
    tested = {
        path.stem.removeprefix("test_").partition("_")[0]
        for path in tracked("tests/contract/test_*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "ProviderContract" for base in node.bases)
    }
    assert registry.BUILT_IN.keys() <= tested


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([\w-]+) +\S", listed, re.MULTILINE)) == set(phony[1].split())


def test_the_licence_is_the_one_that_the_project_declares() -> None:
    assert project()["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
