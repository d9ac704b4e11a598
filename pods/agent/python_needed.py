"""Whether a Python satisfies `requires-python`, and where an installed one that does is.

bootstrap.py and trying.py run this before anything is installed, so it uses the standard library alone.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pods.agent.start import Failed

# A clause of a specifier set (PEP 440). The manager refuses what is not one. Of a pre-release such as
# 3.13.0rc1 the release counts.
CLAUSE = re.compile(r"\s*(~=|==|!=|<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)*)[a-z0-9.+-]*?(\.\*)?\s*")
LOOK_SECONDS = 20.0
# Begins the bootstrap again with another Python, which then does not look for one.
AGAIN = (
    "import sys;sys.path.insert(0,sys.argv[1]);from pods.agent import bootstrap;"
    "bootstrap.main(sys.argv[1],looked=True)"
)


def satisfied(wanted: str, version: Sequence[int]) -> bool:
    """Whether this version (3, 12, 1) satisfies all clauses, as ">=3.12,!=3.12.0"."""
    return all(_one(clause, tuple(version[:3])) for clause in wanted.split(",") if clause.strip())


def _one(clause: str, version: "tuple[int, ...]") -> bool:
    found = CLAUSE.fullmatch(clause)
    if found is None:
        return False
    word, named = found[1], tuple(map(int, found[2].split(".")))
    begin = version[: len(named)] == named
    here, there = _padded(version), _padded(named)
    if word == "~=":
        return here >= there and version[: len(named) - 1] == named[:-1]
    if found[3]:
        return begin if word == "==" else not begin
    return {
        "==": here == there,
        "!=": here != there,
        "<=": here <= there,
        ">=": here >= there,
        "<": here < there,
        ">": here > there,
    }[word]


def _padded(numbers: "tuple[int, ...]") -> "tuple[int, ...]":
    return (*numbers, 0, 0, 0)[: max(3, len(numbers))]


def why_not(wanted: str, *, machine: str = "this image") -> str:
    """Why this Python cannot run the code; "": it can. `machine`: what has this Python, for people."""
    if satisfied(wanted, sys.version_info[:3]):
        return ""
    here = ".".join(map(str, sys.version_info[:3]))
    return f"the code needs Python {wanted}, and {machine} has {here}"


def installed(wanted: str, env: Mapping[str, str]) -> str:
    """Another Python of this machine that satisfies it, as uv finds it; "": none. It downloads none."""
    uv = shutil.which("uv", path=env.get("PATH"))
    if uv is None:
        return ""
    command = [uv, "python", "find", "--system", "--no-project", "--no-python-downloads", wanted]
    try:
        done = subprocess.run(
            command,
            env={**env, "UV_PYTHON_DOWNLOADS": "never"},
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = done.stdout.strip()
    right = done.returncode == 0 and os.access(found, os.X_OK)
    return found if right and os.path.realpath(found) != os.path.realpath(sys.executable) else ""


def ensure(wanted: str, wheel: str, env: Mapping[str, str], *, looked: bool) -> None:
    """Return if this Python can run the code; else begin again with an installed one that can.

    Raises:
        Failed: none can.
    """
    why = why_not(wanted)
    if not why:
        return
    other = "" if looked else installed(wanted, env)
    if not other:
        raise Failed(f"{why}; use another image")
    print("podfleet: going on with", other, flush=True)  # noqa: T201
    os.execve(other, [other, "-c", AGAIN, wheel], dict(env))  # noqa: S606
