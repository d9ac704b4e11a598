"""An emulated RunPod, a clean Valkey, and the clock of both."""

from tests.integration.pods.conftest import rig as rig
from tests.integration.pods.conftest import world as world
