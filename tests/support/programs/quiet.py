"""Sleeps and prints nothing: `quiet.py [deaf]`; with `deaf` it ignores SIGTERM."""

import signal
import sys
import time

if __name__ == "__main__":
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
