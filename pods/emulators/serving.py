"""Serves an emulated vendor to whoever wants to try a fleet without spending."""

import argparse
import json
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Backing, Clock, Emulator, Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.emulators.vastai_contracts import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How the emulated vendor should be."""

    clock: Clock
    boot_seconds: float
    keys: set[str] | None
    backing: Backing | None


def _runpod(wishes: Wishes) -> Emulator:
    third = wishes.boot_seconds / 3
    boot = Boot(provisioning=third, starting=third, pulling=third)
    state = RunPodState(clock=wishes.clock, boot=boot, backing=wishes.backing)
    return RunPodEmulator(state, keys=wishes.keys)


def _vastai(wishes: Wishes) -> Emulator:
    third = timedelta(seconds=wishes.boot_seconds / 3)
    pace = Pace(provisioning=third, loading=third, creating=third)
    emulator = VastaiEmulator(
        clock=wishes.clock, pace=pace, keys=wishes.keys, backing=wishes.backing
    )
    stock(emulator.market)
    return emulator


VENDORS: Final[Mapping[str, Callable[[Wishes], Emulator]]] = {"runpod": _runpod, "vastai": _vastai}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("vendor", choices=sorted(VENDORS), help="Whose API to speak.")
    parser.add_argument(
        "--port", type=int, default=0, help="Where to listen (default: a free port)."
    )
    parser.add_argument("--key", action="append", help="A key that is good (default: every key).")
    parser.add_argument(
        "--boot-seconds", type=float, default=6.0, help="From a create to a running container."
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="How many of its seconds pass in one: bills run faster.",
    )
    parser.add_argument(
        "--agents",
        metavar="FOLDER",
        type=Path,
        help="Run a real agent for each machine, and keep in FOLDER what they print.",
    )


def serve(options: argparse.Namespace, *, say: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM; then kill the agents and say what was billed."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    agents = AgentProcesses(options.agents) if options.agents else None
    wishes = Wishes(
        clock=wall_clock(speed=options.speed),
        boot_seconds=options.boot_seconds,
        keys=set(options.key) if options.key else None,
        backing=agents,
    )
    with Server(VENDORS[options.vendor](wishes), port=options.port) as server:
        account = json.dumps({"base_url": server.url})
        say(f"{options.vendor} is emulated at {server.url}")
        say(f"options of an account there: {account}; its key: {options.key or 'any'}")
        stop.wait()
    if agents is not None:
        agents.stop_all()
    say(f"{options.vendor} answered {len(server.exchanges)} requests")


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m tests.emulators.serving runpod --port 8900`."""
    parser = argparse.ArgumentParser(description="Emulate a vendor's API on this machine.")
    add_arguments(parser)
    serve(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
