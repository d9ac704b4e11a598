"""Runs pytest in forks of this process, which has already imported the slow packages."""

import importlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

# None of these reads settings when it is imported.
SLOW_TO_IMPORT: Final = (
    *("hypothesis", "hypothesis.strategies", "openapi_core", "jsonschema", "yaml"),
    *("celery", "celery.app.base", "kombu", "kombu.transport.redis", "redis", "redis.asyncio"),
    *("psycopg", "httpx", "pydantic", "pydantic_settings", "structlog", "numpy", "pyarrow"),
    *("apprise", "cryptography.fernet", "psutil", "stamina", "rich.console", "rich.progress"),
    *("django.db.models", "django.core.management", "django.test", "django.contrib.admin"),
    "django.forms",
)
OURS: Final = ("config", "fleet", "pods", "tests")
NEVER_ENDED: Final = -1
BROKEN: Final = 70  # this module failed, not a test; pytest's own exit codes end at 5


def import_slow_packages() -> None:
    """Import the slow packages here, so that no fork has to."""
    for name in SLOW_TO_IMPORT:
        with suppress(ImportError):
            importlib.import_module(name)


def run(
    copy: Path, arguments: Sequence[str], env: Mapping[str, str], *, seconds: float
) -> tuple[int, str]:
    """Pytest's exit code and what it printed, in the checkout `copy`."""
    printed = copy.parent / "printed"
    fork = multiprocessing.get_context("fork").Process(
        target=_inside, args=(copy, list(arguments), dict(env), printed)
    )
    fork.start()
    fork.join(seconds)
    if fork.exitcode is None:
        fork.kill()
        fork.join()
        return NEVER_ENDED, f"did not end within {seconds:g} s"
    return fork.exitcode, printed.read_text(encoding="utf-8", errors="replace")


def _inside(copy: Path, arguments: list[str], env: dict[str, str], printed: Path) -> None:
    with printed.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(copy)
    sys.path[:] = [
        str(copy),
        *(p for p in sys.path if p not in {"", str(Path(__file__).parents[2])}),
    ]
    sys.pycache_prefix, sys.dont_write_bytecode = env["PYTHONPYCACHEPREFIX"], False
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    importlib.invalidate_caches()
    code = BROKEN
    try:
        code = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001 - its exit code would be that of a failed test
        traceback.print_exc()
    sys.stdout.flush()
    sys.exit(code)
