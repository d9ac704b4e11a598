"""The world of the pods' tests, for what the demand side does with it."""

from tests.integration.pods.conftest import rig as rig
from tests.integration.pods.conftest import world as world
