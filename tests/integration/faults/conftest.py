"""Fixtures: the world of the supply side."""

from tests.support.fixtures import rig as rig
from tests.support.fixtures import world as world
