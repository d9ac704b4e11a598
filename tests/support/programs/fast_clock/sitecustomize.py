"""Makes the clocks of a Python program run faster: what it says takes a minute takes seconds.

Python imports it first, from PYTHONPATH. Waits of locks, of sockets and of Redis stay real. They only
look longer to the program, as on a slow machine.
"""

import os
import time

SPEED = float(os.environ["CLOCK_SPEED"])
monotonic, sleep = time.monotonic, time.sleep

time.monotonic = lambda: monotonic() * SPEED
time.sleep = lambda seconds: sleep(float(seconds) / SPEED)
