"""The program of a local machine in a test: it does what its options say, prints `ready`, and sleeps.

`machine.py [--say TEXT …] [--deaf | --finishes] [--leads] [--child KIND]`, without site-packages.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

QUIET = Path(__file__).with_name("quiet.py")
CHILDREN = ("deaf", "apart", "bare", "orphan")


def finish(*_: object) -> None:
    """End in an orderly way."""
    print("finished")
    sys.exit(0)


def start_child(kind: str) -> None:
    """Start a child that is hard to find or hard to end."""
    quiet = [sys.executable, "-S", str(QUIET)]
    if kind == "deaf":
        subprocess.Popen([*quiet, "deaf"])
    elif kind == "apart":  # in a session of its own
        subprocess.Popen([*quiet, "deaf"], start_new_session=True)
    elif kind == "bare":  # without the environment
        subprocess.Popen([*quiet, "deaf"], env={})
    else:  # its parent has ended
        subprocess.run(["sh", "-c", " ".join([*quiet, "&"])], check=True)


def main() -> None:
    """Do what the options say, then sleep for ten minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--say", action="append", default=[], help="with escapes")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--finishes", action="store_true")
    parser.add_argument("--leads", action="store_true", help="a second session")
    parser.add_argument("--child", choices=CHILDREN)
    asked = parser.parse_args()
    for text in asked.say:
        print(text.encode().decode("unicode_escape"))
    if asked.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if asked.finishes:
        signal.signal(signal.SIGTERM, finish)
    if asked.leads:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    if asked.child:
        start_child(asked.child)
    print("ready")
    time.sleep(600)


if __name__ == "__main__":
    main()
