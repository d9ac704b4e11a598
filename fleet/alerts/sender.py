"""Sends one message to a channel, in a process of its own: `python -m fleet.alerts.sender`.

The library that sends takes an address and connects by itself, with several other libraries. Whether
it stays outside private networks is watched for the whole process, so the process does nothing else.
Standard input has the message as JSON; the exit status is 0 if the channel took it.
"""

import json
import sys
from typing import Final

from fleet.alerts import notifying
from fleet.decision.alert_facts import Severity
from pods.base import egress

REFUSED: Final = 3  # the channel did not take the message


def main() -> int:
    """Send the message of standard input."""
    asked = json.load(sys.stdin)
    if not asked["private_too"]:
        egress.stay_outside()
    taken = notifying.notify(
        asked["url"],
        title=asked["title"],
        body=asked["body"],
        severity=Severity(asked["severity"]),
    )
    return 0 if taken else REFUSED


if __name__ == "__main__":
    sys.exit(main())
