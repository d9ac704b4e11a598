"""Imports modules, and prints all loaded modules as JSON: `loaded.py MODULE …`."""

import importlib
import json
import sys

if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print(json.dumps(sorted(sys.modules)))
