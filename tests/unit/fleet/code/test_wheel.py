"""The agent's wheel that the manager builds is the one that its build backend makes."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from fleet.code import wheel
from fleet.code.wheel import AGENT, agent_wheel


def test_it_has_the_agents_files_and_is_the_same_each_time() -> None:
    made = agent_wheel()
    wheel.agent_wheel.cache_clear()
    assert agent_wheel() == made
    names = set(zipfile.ZipFile(io.BytesIO(made.body)).namelist())
    sources = {f"pods/agent/{p.relative_to(AGENT)}" for p in AGENT.rglob("*.py")}
    scripts = {f"pods/agent/scripts/{p.name}" for p in (AGENT / "scripts").iterdir()}
    assert sources | scripts | {"pods/agent/py.typed"} <= names
    assert "pods/__init__.py" not in names


def test_what_runs_before_the_installation_needs_the_standard_library_alone(tmp_path: Path) -> None:
    made = agent_wheel()
    (tmp_path / made.name).write_bytes(made.body)
    modules = ("pods.agent.bootstrap", "pods.agent.trying", "pods.agent.ending")
    program = f"import sys;sys.path.insert(0,sys.argv[1]);import {','.join(modules)}"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path / made.name)], check=True, cwd="/"
    )
