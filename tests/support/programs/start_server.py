"""Starts the embedded server of a folder, or finds it: `start_server FOLDER [NAME=VALUE …]`.

It prints the run id and the address of the server. NAME=VALUE are settings of the server.
"""

import sys
from pathlib import Path
from unittest import mock

import redis

from config import embedded


def main(folder: str, *settings: str) -> None:
    """Start the server; print its run id and address."""
    more = dict(setting.split("=", 1) for setting in settings)
    with mock.patch.object(embedded, "SETTINGS", {**embedded.SETTINGS, **more}):
        url = embedded.ensure_running(Path(folder))
    print(redis.Redis.from_url(url).info("server")["run_id"], url)


if __name__ == "__main__":
    main(*sys.argv[1:])
