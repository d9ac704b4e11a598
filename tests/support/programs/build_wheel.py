"""Builds the wheel of the package in the working directory: `build_wheel.py FOLDER`."""

import sys

from setuptools.build_meta import build_wheel

if __name__ == "__main__":
    build_wheel(sys.argv[1])
