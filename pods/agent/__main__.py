"""`python -m pods.agent`: reads its settings from the environment, works, and exits with a code.

0 drained or stopped as asked · 2 the settings are wrong · 3 the handler cannot be loaded ·
4 fenced: this pod is written off · 5 no manager for `orphan_seconds` · 1 a fault in the agent.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from importlib import import_module

import redis

from pods.agent.celery_agent import CeleryAgent
from pods.agent.control import Control, Intent
from pods.agent.ending import end_machine
from pods.agent.heartbeat import EXIT_ORPHANED
from pods.agent.loop import Agent
from pods.agent.masking import hide_in_output
from pods.agent.protocol import DATASET, AgentSettings, Keys
from pods.agent.trust import how_to_connect

EXIT_BAD_SETTINGS = 2
# The share of the notice in which an agent of a dataset waits for its handler.
TO_WORK = 0.5


def settings_of(environment: Mapping[str, str]) -> AgentSettings:
    """The settings in the environment, checked as far as possible without a server.

    Raises:
        ValueError: a variable is missing or wrong.
    """
    settings = AgentSettings.from_env(environment)
    Keys(settings.fleet)
    module, _, function = settings.handler.partition(":")
    if not (module and function):
        raise ValueError(f"PODFLEET_HANDLER={settings.handler!r} is not package.module:function")
    try:
        redis.ConnectionPool.from_url(settings.redis_url)
    except ValueError as exc:
        raise ValueError(f"PODFLEET_REDIS_URL: {exc}") from exc
    try:
        how_to_connect(settings.redis_url, settings.redis_ca)
    except ValueError as exc:
        raise ValueError(f"PODFLEET_REDIS_CA: {exc}") from exc
    return settings


def take_notice(control: Control, seconds: float) -> None:
    """Drain, because the vendor will take the machine. After `seconds` give back what is left."""
    control.ask(Intent.DRAIN, "SIGTERM")
    over = threading.Timer(
        seconds, control.ask, (Intent.STOP, f"{seconds:g} s have passed since SIGTERM")
    )
    over.daemon = True
    over.start()


def main() -> int:
    """Run one agent."""
    logging.basicConfig(
        level=os.environ.get("PODFLEET_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        settings = settings_of(os.environ)
    except ValueError as exc:
        sys.stderr.write(f"podfleet agent: {exc}\n")
        return EXIT_BAD_SETTINGS
    control = Control()
    signal.signal(signal.SIGINT, lambda *_: control.ask(Intent.DRAIN, "SIGINT"))
    notice = settings.notice_seconds
    if settings.kind == DATASET:
        notice *= TO_WORK  # after that it still has a part to write
    signal.signal(signal.SIGTERM, lambda *_: take_notice(control, notice))
    if settings.kind == DATASET:
        # only this kind needs pyarrow and obstore, and much longer to import
        made: int = import_module("pods.agent.dataset.agent").DatasetAgent(settings, control).run()
        return made
    if settings.celery_app:
        return CeleryAgent(settings, control).run()
    return Agent(settings, control).run()


def run() -> None:
    """End the process with the exit code of `main`."""
    hide_in_output()
    code = main()
    if code == EXIT_ORPHANED:
        end_machine(os.environ)
    logging.shutdown()
    sys.stdout.flush()
    # threads that wait for a server or a handler must not delay the end
    os._exit(code)


if __name__ == "__main__":
    run()
