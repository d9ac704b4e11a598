"""Builds the wheel of the package in the working directory: `build_wheel.py FOLDER`."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    backend = tomllib.loads(Path("pyproject.toml").read_text())["build-system"]["build-backend"]
    import_module(backend).build_wheel(sys.argv[1])
