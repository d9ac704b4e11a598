"""Runs the task of the short-lived keys and kills itself with -9: `renew_keys answered|written`.

`answered`: STS has answered, and no row says so. `written`: the row is there, Redis has nothing of it.
"""

import os
import signal
import sys
from typing import Any

from tests.support.programs import set_django_up


def main(place: str) -> None:
    """Run it once."""
    set_django_up()
    from fleet import tasks
    from fleet.secrets import channel, issuing

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "answered":
        issuing.record = die  # type: ignore[assignment]
    else:
        channel.keep_if_possible = die  # type: ignore[assignment]
    tasks.issue_keys()


if __name__ == "__main__":
    main(sys.argv[1])
