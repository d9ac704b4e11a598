"""Requirements with hashes are installed beside those that have none, and altered packages are not."""

import hashlib
import os
import subprocess
import zipfile

import pytest

from pods.agent import bootstrap
from pods.agent.start import Failed

TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(folder, name):
    """A wheel of one module; returns its SHA-256."""
    path, about = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "x = 1\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        archive.writestr(f"{about}/WHEEL", TAGS)
        archive.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def build(tmp_path):
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    installing = bootstrap.for_installer(env, {})

    def environment(*wants):
        return bootstrap.environment(
            str(tmp_path / "cache"), "", wants, installing, bootstrap.Steps()
        )

    return environment


def test_both_kinds_of_requirements_are_installed(build, tmp_path):
    digest = wheel(tmp_path, "pinned_one")
    wheel(tmp_path, "free_one")
    python = build(f"pinned_one==1 --hash=sha256:{'0' * 64} --hash=sha256:{digest}", "free_one")
    subprocess.run([python, "-c", "import pinned_one, free_one"], check=True)


def test_a_package_with_another_hash_is_not_installed(build, tmp_path):
    wheel(tmp_path, "pinned_one")
    with pytest.raises(Failed, match=r"(?i)hash"):
        build(f"pinned_one==1 --hash=sha256:{'0' * 64}")


def test_nothing_without_a_hash_is_installed_before_the_hashes_are_checked(build, tmp_path):
    wheel(tmp_path, "pinned_one")
    wheel(tmp_path, "free_one")
    with pytest.raises(Failed, match=r"(?i)hash"):
        build("free_one", f"pinned_one==1 --hash=sha256:{'0' * 64}")
    assert list(tmp_path.glob("cache/environments/*/bin/python"))
    assert not list(tmp_path.rglob("free_one.py"))
