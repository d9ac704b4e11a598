"""Calls a vendor, forks, and calls it from both processes: `fork URL`."""

import os
import sys

from pods.providers.http import VendorHttp


def main(url: str) -> None:
    """Make the calls; fail if one of them fails."""
    client = VendorHttp(base_url=url, secret="rk_1")
    assert client.call("GET", "/").ok
    child = os.fork()
    if child == 0:
        os._exit(0 if client.call("GET", "/").ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.call("GET", "/").ok


if __name__ == "__main__":
    main(sys.argv[1])
