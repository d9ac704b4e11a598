"""`python -m benchmarks NAME`: measure, print a table, and `BENCH {json}` as the last line."""

import argparse
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import benchmarks

SCRATCH: Final = "PODFLEET_BENCH_SCRATCH"


def known() -> list[str]:
    """The names of the benchmarks."""
    modules = pkgutil.iter_modules(benchmarks.__path__)
    return sorted(m.name for m in modules if not m.ispkg and m.name not in {"__main__", "delay"})


def main() -> int:
    """Measure in a child process whose database and server are in a scratch folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=known())
    parser.add_argument(
        "--quick", action="store_true", help="Fewer and shorter runs, to see that it works."
    )
    parser.add_argument(
        "--traces",
        type=Path,
        metavar="FOLDER",
        help="Of NAME=deadline: other recordings of a spot market (*.json.gz).",
    )
    options = parser.parse_args()
    if options.traces and options.name != "deadline":
        parser.error("only the benchmark `deadline` reads recordings")
    if SCRATCH not in os.environ:
        return _in_scratch()
    more = {"traces": options.traces} if options.traces else {}
    return _measure(options.name, quick=options.quick, **more)


def _measure(name: str, *, quick: bool, **more: Any) -> int:
    import django  # noqa: PLC0415 - only with the environment of the scratch folder
    from rich.console import Console  # noqa: PLC0415

    django.setup()
    result = import_module(f"benchmarks.{name}").run(Console(), quick=quick, **more)
    if not result:
        sys.stderr.write("the benchmark measured nothing\n")
        return 1
    sys.stdout.write(f"BENCH {json.dumps(result)}\n")
    return 0


def _in_scratch() -> int:
    with tempfile.TemporaryDirectory(prefix="podfleet-bench-") as folder:
        env = {**os.environ, SCRATCH: folder, "PODFLEET_VAR_DIR": folder}
        env |= {"PODFLEET_LOG_LEVEL": "WARNING", "DJANGO_SETTINGS_MODULE": "config.settings"}
        for name in ("REDIS_URL", "DATABASE_URL", "PODFLEET_PRODUCTION"):
            if f"BENCH_{name}" in os.environ:
                env[name] = os.environ[f"BENCH_{name}"]
            else:
                env.pop(name, None)
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
