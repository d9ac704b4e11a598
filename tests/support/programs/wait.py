"""Says that it is at work, and sleeps until it is interrupted, which it says too."""

import time

if __name__ == "__main__":
    try:
        print("at it", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("asked to end", flush=True)
