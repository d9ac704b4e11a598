"""The bootstrap reads `requires-python` as packaging does, without it."""

import os
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from fleet.code.dependencies import BadCode
from fleet.code.pythons import of_files
from pods.agent import python_needed
from pods.agent.start import Failed

VERSIONS = [(3, minor, patch) for minor in range(9, 15) for patch in (0, 1, 4, 12)]


@pytest.mark.parametrize(
    "wanted",
    [
        "", ">=3.10", ">=3.11,<3.13", "==3.12", "==3.12.*", "!=3.11.*", "~=3.11", "~=3.11.4",
        ">3.11", "<=3.12", ">=3.10,!=3.12.1,<4", "==3.12.4", "<3.14.0", " >= 3.12 , < 4.0 ",
    ],
)  # fmt: skip
def test_it_agrees_with_packaging(wanted: str) -> None:
    for version in VERSIONS:
        said = ".".join(map(str, version)) in SpecifierSet(wanted)
        assert python_needed.satisfied(wanted, version) is said, version


def test_the_release_of_a_pre_release_counts() -> None:
    assert python_needed.satisfied(">=3.13.0rc1", (3, 13, 0))
    assert not python_needed.satisfied(">=3.13.0rc1", (3, 12, 9))
    assert not python_needed.satisfied("nonsense", (3, 12, 9))


def block(wanted: str) -> dict[str, bytes]:
    return {"a.py": f"# /// script\n# requires-python = {wanted}\n# ///\n".encode()}


def test_a_script_and_a_folder_say_which_pythons_they_need() -> None:
    assert of_files(block('">=3.12"'), script="a.py") == ">=3.12"
    assert of_files({"a.py": b""}, script="a.py") == ""
    project = b'[project]\nrequires-python = ">=3.11"\n'
    assert of_files({"pyproject.toml": project, "requirements.txt": b"six\n"}) == ">=3.11"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ('"3.12"', "names no versions"),
        ('">=three"', "names no versions"),
        ("3.12", "is not a text"),
        ('"<3.10"', "pods have Python 3.10 or later"),
        ('">=3.12,<3.12"', "pods have Python 3.10 or later"),
        ('">=4"', "pods have Python 3.10 or later"),
        ('"===3.12.1"', "write == instead"),
    ],
)
def test_what_no_pod_can_satisfy_is_refused(wanted: str, says: str) -> None:
    with pytest.raises(BadCode, match=says):
        of_files(block(wanted), script="a.py")


def test_without_a_python_that_fits_the_start_fails_and_says_both_versions() -> None:
    here = ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(Failed, match=f"the code needs Python >=3.99, and this image has {here}"):
        python_needed.ensure(">=3.99", "/w.whl", {"PATH": "/nowhere"}, looked=False)
    python_needed.ensure(">=3.10", "/w.whl", {}, looked=False)


def test_an_installed_python_that_uv_finds_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, uv = tmp_path / "python3.99", tmp_path / "uv"
    other.write_text("#!/bin/sh\n")
    uv.write_text(f'#!/bin/sh\nfor word in "$@"; do last=$word; done\n'
                  f'test "$last" = ">=3.99" && echo {other}\n')  # fmt: skip
    for file in (other, uv):
        file.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert python_needed.installed(">=3.99", env) == str(other)
    assert python_needed.installed(">=3.98", env) == ""
    begun = []
    monkeypatch.setattr(os, "execve", lambda *words: begun.append(words))
    python_needed.ensure(">=3.99", "/w.whl", env, looked=False)
    assert begun[0][1][-1] == "/w.whl"
    with pytest.raises(Failed, match="needs Python"):
        python_needed.ensure(">=3.99", "/w.whl", env, looked=True)


@pytest.mark.parametrize("wrong", ["it fails", "it is not a program", "it is this Python"])
def test_a_python_that_uv_names_and_that_is_of_no_use_is_not_begun(
    tmp_path: Path, wrong: str
) -> None:
    other, uv = tmp_path / "python3.99", tmp_path / "uv"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o644 if wrong == "it is not a program" else 0o755)
    if wrong == "it is this Python":
        other.unlink()
        other.symlink_to(sys.executable)
    uv.write_text(f"#!/bin/sh\necho {other}\nexit {int(wrong == 'it fails')}\n")
    uv.chmod(0o755)
    assert python_needed.installed(">=3.9", {"PATH": str(tmp_path)}) == ""
