"""Fixtures for the tests of fleets: the world of the pods' tests, and a clock."""

from tests.support.fixtures import rig as rig
from tests.support.fixtures import time as time
from tests.support.fixtures import world as world
