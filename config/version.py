"""The version of Podfleet: a checkout's own file has it, an installed wheel's metadata."""

import tomllib
from importlib import metadata
from pathlib import Path


def version() -> str:
    """The version, such as 0.1.0."""
    declared = Path(__file__).parents[1] / "pyproject.toml"
    if declared.exists():
        return str(tomllib.loads(declared.read_text())["project"]["version"])
    return metadata.version("podfleet")
