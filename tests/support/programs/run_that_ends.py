"""A file of tests whose run ends in one way or another; copied, and run by a pytest of its own.

END_BY says how. It leaves a process behind, and the file `said` beside it: the folder of the run
and the number of that process.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.mark.django_db
def test_it_ends() -> None:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    said = [os.environ["PODFLEET_TEST_RUN"], str(child.pid)]
    Path(__file__).with_name("said").write_text(" ".join(said))
    if os.environ["END_BY"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif os.environ["END_BY"] == "exit":  # pytest-timeout ends a run so
        os._exit(1)
