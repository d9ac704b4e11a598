"""Prints, as JSON, which of these modules can be imported: `importable.py MODULE …`."""

import json
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    print(json.dumps([name for name in sys.argv[1:] if find_spec(name)]))
