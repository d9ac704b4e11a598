"""Makes a provider by its name, and prints the name of its class: `make_provider NAME`."""

import sys

from pods.providers import registry

if __name__ == "__main__":
    assert sys.argv[1] in registry.names()
    print(type(registry.create_provider(sys.argv[1], options={}, secret="k")).__name__)
