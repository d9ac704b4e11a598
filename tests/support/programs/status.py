"""Prints what `fleet show --json` says of each fleet that a line of the standard input names."""

import json
import sys

from tests.support.programs import set_django_up


def main() -> None:
    """Until the standard input ends."""
    set_django_up()
    from fleet.management.fleet_names import fleet_named
    from fleet.pages.status import status_of

    for name in sys.stdin:
        print(json.dumps(status_of(fleet_named(name.strip())).as_json()), flush=True)


if __name__ == "__main__":
    main()
