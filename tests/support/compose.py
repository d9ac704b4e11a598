"""What docker-compose.yml and the Dockerfile run, to which other ways to deploy are compared."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from config.env import ROOT, Env

# The services of the manager that run all the time.
PROCESSES = ("web", "worker-control", "worker-vendor", "beat", "flower")
# What Compose makes from these variables of .env.
MADE_FROM = {"POSTGRES_PASSWORD": "DATABASE_PASSWORD", "FLOWER_PASSWORD": "FLOWER_BASIC_AUTH"}


def service(name: str) -> dict[str, Any]:
    """A service, as the file declares it."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = compose["services"][name]
    return found


def filled(value: str, env: Mapping[str, str]) -> str:
    """A value with its `${NAME:-default}` and `${NAME:?message}`, as Compose fills them in."""
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: env.get(m[1]) or m[2] or "", value)


def command(name: str) -> list[str]:
    """What a service runs if .env sets nothing; without a command of its own, what the image runs."""
    if given := service(name).get("command"):
        return [filled(word, {}) for word in given]
    [line] = re.findall(r"^CMD (\[.+\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    run: list[str] = json.loads(line)
    return run


def environment(name: str) -> dict[str, str]:
    """The variables that Compose itself gives to a service, beside .env."""
    given: dict[str, str] = service(name)["environment"]
    return given


def needed() -> set[str]:
    """The variables of a process that somebody has to set who does not use Compose."""
    example = (ROOT / ".env.example").read_text()
    required = {*re.findall(r"^(\w+)=", example, re.MULTILINE), *environment("migrate")}
    return {MADE_FROM.get(name, name) for name in required}


def known() -> set[str]:
    """The variables that a process of the manager reads."""
    fields = Env.model_fields.items()
    own = {str(field.validation_alias or f"PODFLEET_{name.upper()}") for name, field in fields}
    return {*own, "PODFLEET_ADMIN_PASSWORD", "FLOWER_BASIC_AUTH", "VENDOR_CONCURRENCY"}
