"""Waits until the file named by GATE exists, and then becomes the real interpreter.

A test uses it instead of the interpreter, below a line `#!` with the real one.
"""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.01)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
