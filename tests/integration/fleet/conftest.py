"""The world of the pods' tests, for what the demand side does with it, and a clock."""

from tests.support.fixtures import rig as rig
from tests.support.fixtures import time as time
from tests.support.fixtures import world as world
