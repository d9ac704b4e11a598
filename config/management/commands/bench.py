"""`manage.py bench NAME`: measure, print a table for people and `BENCH {json}` as the last line."""

import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from config import benchmarks

SCRATCH: Final = "PODFLEET_BENCH_SCRATCH"


def known() -> list[str]:
    """The benchmarks there are."""
    return sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__))


class Command(BaseCommand):
    """Runs a benchmark with a database and a server of its own, so that nothing else is touched."""

    help = f"Measure something: {', '.join(known())}."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which one."""
        parser.add_argument("name", choices=known())
        parser.add_argument(
            "--quick", action="store_true", help="Fewer and shorter runs: to see that it works."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Begin again in a scratch folder, then measure."""
        if SCRATCH not in os.environ:
            raise SystemExit(self._in_scratch())
        result = import_module(f"config.benchmarks.{options['name']}").run(
            Console(), quick=options["quick"]
        )
        if not result:
            raise CommandError("the benchmark measured nothing")
        self.stdout.write(f"BENCH {json.dumps(result)}")

    def _in_scratch(self) -> int:
        with tempfile.TemporaryDirectory(prefix="podfleet-bench-") as folder:
            env = {**os.environ, SCRATCH: folder, "PODFLEET_VAR_DIR": folder}
            env["PODFLEET_LOG_LEVEL"] = "WARNING"
            for name in ("REDIS_URL", "DATABASE_URL", "PODFLEET_PRODUCTION"):
                if f"BENCH_{name}" in os.environ:
                    env[name] = os.environ[f"BENCH_{name}"]
                else:
                    env.pop(name, None)
            return subprocess.run([sys.executable, *sys.argv], env=env, check=False).returncode
