"""Packages of third parties with entry points, on a path as an installer puts them there."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.env import ROOT

PAGE = ROOT / "docs" / "howto" / "add-a-format.md"
EXAMPLE = "podfleet_arrow"
POINTS = f"[podfleet.sources]\narrow = {EXAMPLE}:ArrowFiles\n[podfleet.sinks]\narrow = {EXAMPLE}:ArrowParts"


def put_package(site: Path, package: str, points: str, source: str) -> Path:
    """Put a package of one module into a folder of its own below `site`; returns that folder."""
    folder = site / package
    facts = folder / f"{package}-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / f"{package}.py").write_text(source)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"{points}\n")
    return folder


def put_example(site: Path) -> Path:
    """The example of the page about formats, as the page has it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (source,) = blocks
    assert len(source.splitlines()) <= 60
    return put_package(site, EXAMPLE, POINTS, source)


@contextmanager
def leaves_nothing_imported(site: Path) -> Iterator[None]:
    """Whatever is imported from below `site`, the path included, is gone at the end.

    Tests of one process must not find each other's modules: two packages may have one name.
    """
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(site):
                del sys.modules[name]
        importlib.invalidate_caches()
