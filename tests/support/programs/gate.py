"""An interpreter that waits until the file named by GATE is there, and then is the true one.

A test puts it in the place of the interpreter, with the line `#!` and the true one above.
"""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.01)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
