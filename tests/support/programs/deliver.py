"""Sends the due messages of an alert channel, as a worker does: `deliver CHANNEL_ID`."""

import sys

from tests.support.programs import set_django_up


def main(channel: str) -> None:
    """Deliver once."""
    set_django_up()
    from fleet.alerts import delivering

    delivering.deliver(int(channel))


if __name__ == "__main__":
    main(sys.argv[1])
