"""The agent's wheel in an empty environment: it works there without the rest of Podfleet."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support.programs import FOLDER
from tests.support.rigs.agent_rig import drain_with
from tests.support.wheels import built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that the checkout gets no build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT / "pods" / "agent", source, ignore=shutil.ignore_patterns("__pycache__", "build")
    )
    return built(source, folder)


def site_packages(python):
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", where], text=True).strip())


def copy_installed(distribution, target):
    """The files that are installed here, so that no network is needed, and no other files."""
    for file in importlib.metadata.files(distribution):
        if ".." not in file.parts and "__pycache__" not in file.parts:
            destination = target / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), destination)


@pytest.fixture(scope="module")
def bare_python(wheel, tmp_path_factory):
    """A new environment with the wheel and its two dependencies, no other package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    python = str(folder / "bin" / "python")
    target = site_packages(python)
    for distribution in ("redis", "hiredis"):
        copy_installed(distribution, target)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return python


def test_the_wheel_holds_the_agent_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    outside = [n for n in names if not n.startswith(("pods/agent/", "podfleet_agent-"))]
    assert outside == []
    here = {
        str(path.relative_to(ROOT))
        for kind in ("*.py", "*.lua", "py.typed")
        for path in (ROOT / "pods" / "agent").rglob(kind)
    }
    assert here <= set(names)


def test_the_agent_drains_a_backlog_from_a_bare_environment(bare_python, backlog, tmp_path):
    drain_with([bare_python, "-m", "pods.agent"], backlog, tmp_path, pod="pod-bare")


def test_neither_django_nor_celery_can_be_imported_there(bare_python, tmp_path):
    looked_for = ["django", "celery", "fleet", "config", "pods.models"]
    look = [bare_python, FOLDER / "importable.py", *looked_for, "pods.agent.loop"]
    found = subprocess.check_output(look, cwd=tmp_path, text=True)
    assert json.loads(found) == ["pods.agent.loop"]
    load = [bare_python, FOLDER / "loaded.py", "pods.agent.loop", "pods.agent.handlers"]
    loaded = json.loads(subprocess.check_output(load, cwd=tmp_path, text=True))
    assert not set(looked_for) & set(loaded)


def test_it_works_on_python_3_10(wheel, backlog, tmp_path):
    python = os.environ.get("PYTHON310") or shutil.which("python3.10")
    # a version manager may have a shim on the path that starts nothing
    if python is None or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip("no python3.10 on the path; PYTHON310 can name one")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    bare = str(tmp_path / "venv" / "bin" / "python")
    installed = subprocess.run(
        [bare, "-m", "pip", "install", "-q", str(wheel)],
        check=False,
        capture_output=True,
        text=True,
    )
    if installed.returncode and "connection" in installed.stderr.lower():
        pytest.skip("no package index can be reached")
    assert installed.returncode == 0, installed.stderr
    drain_with([bare, "-m", "pods.agent"], backlog, tmp_path, pod="pod-310")
