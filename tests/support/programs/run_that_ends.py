"""A test file whose run ends as END_BY says; a test copies it and runs it with a separate pytest.

It leaves a process, and a file `said` next to it with the folder of the run and the pid of that process.
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
    elif os.environ["END_BY"] == "exit":  # as pytest-timeout ends a run
        os._exit(1)
