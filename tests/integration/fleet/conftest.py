"""The world of the pods' tests, for what the demand side does with it."""

from tests.support.fixtures import rig as rig
from tests.support.fixtures import world as world
