"""The agent's Dockerfile without Docker: its steps are done in a folder, and the result works."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from importlib import metadata

import pytest

from config.env import ROOT
from tests.support.rigs.agent_rig import drain_with

DOCKERFILE = ROOT / "pods" / "agent" / "Dockerfile"
# The paths of a container that the lines name, and for which the folder stands.
PLACES = re.compile(r"(?<![\w.])/(agent|src)\b")
NEEDED = ("redis", "hiredis", "setuptools")


def lines():
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    rows = [row for row in text.splitlines() if row.strip() and not row.startswith("#")]
    return [tuple(row.split(maxsplit=1)) for row in rows]


def only(word):
    [value] = [rest for instruction, rest in lines() if instruction == word]
    return value


def wheel_of(name, folder):
    """The wheel of an installed package, made from its files, so that no network is needed."""
    found = metadata.distribution(name)
    tag = re.search(r"^Tag: (\S+)$", found.read_text("WHEEL"), re.MULTILINE)[1]
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as wheel:
        for file in found.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), str(file))


@pytest.fixture(scope="module")
def entrypoint(tmp_path_factory):
    """The command that the image would start, after its COPY and its RUN."""
    root = tmp_path_factory.mktemp("image")
    for folder in ("wheels", "bin"):
        (root / folder).mkdir()
    for name in NEEDED:
        wheel_of(name, root / "wheels")
    (root / "bin" / "python3").symlink_to(sys._base_executable)

    def placed(text):
        return PLACES.sub(lambda place: f"{root}/{place[1]}", text)

    source, target = only("COPY").split()
    shutil.copytree(
        ROOT / source, placed(target), ignore=shutil.ignore_patterns("__pycache__", "build")
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(root / "wheels")}
    environment["PATH"] = f"{root / 'bin'}:{environment['PATH']}"
    ran = subprocess.run(
        ["sh", "-c", placed(only("RUN"))],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [placed(word) for word in json.loads(only("ENTRYPOINT"))]


def test_the_base_image_is_an_argument():
    assert [row[0] for row in lines()[:2]] == ["ARG", "FROM"]
    assert re.fullmatch(r"BASE_IMAGE=\S+", lines()[0][1])
    assert lines()[1][1] == "${BASE_IMAGE}"


def test_the_copied_files_reach_the_engine():
    source = only("COPY").split()[0]
    ignored = (ROOT / ".dockerignore").read_text().split()
    above = [source, *(str(parent) for parent in (ROOT / source).relative_to(ROOT).parents)]
    assert [(p, name) for p in ignored for name in above if fnmatch(name, p)] == []


def test_what_the_image_starts_drains_a_backlog(entrypoint, backlog, tmp_path):
    drain_with(entrypoint, backlog, tmp_path, pod="pod-image")


def test_the_path_of_the_image_finds_the_agents_python(entrypoint):
    [path] = re.findall(r"PATH=(\S+)", only("ENV"))
    assert path.split(":")[0] == json.loads(only("ENTRYPOINT"))[0].rpartition("/")[0]
    assert entrypoint[0].endswith("/agent/bin/python")


def test_the_three_lines_of_the_docs_are_those_of_the_image():
    own = DOCKERFILE.read_text().splitlines()
    three = own[[row.startswith("COPY") for row in own].index(True) :]
    assert [row.split()[0] for row in three] == ["COPY", "RUN", "ENTRYPOINT"]
    page = (ROOT / "docs" / "reference" / "handlers.md").read_text()
    assert "\n".join(three) in page
