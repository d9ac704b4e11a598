"""Serves an emulated vendor, on which a fleet can be tried without money."""

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from pods.base.ports import port
from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Backing, Clock, Emulator, Server, wall_clock
from pods.emulators.registries import PrivateImages
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VENDOR_LIMITS, VastaiEmulator
from pods.emulators.vastai_catalog import crowd, stock
from pods.emulators.vastai_contracts import Pace
from pods.providers.images import registry_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the options of the command ask of the emulated vendor."""

    clock: Clock
    boot_seconds: float
    keys: set[str] | None
    backing: Backing | None
    crowded: bool = False
    gpuless: int = 0
    private: PrivateImages = field(default_factory=PrivateImages)


def _runpod(wishes: Wishes) -> Emulator:
    third = wishes.boot_seconds / 3
    boot = Boot(provisioning=third, starting=third, pulling=third)
    state = RunPodState(
        clock=wishes.clock,
        boot=boot,
        backing=wishes.backing,
        seed=None,
        gpuless=wishes.gpuless,
        private=wishes.private,
    )
    return RunPodEmulator(state, keys=wishes.keys)


def _vastai(wishes: Wishes) -> Emulator:
    third = timedelta(seconds=wishes.boot_seconds / 3)
    pace = Pace(provisioning=third, loading=third, creating=third)
    emulator = VastaiEmulator(
        clock=wishes.clock,
        pace=pace,
        keys=wishes.keys,
        backing=wishes.backing,
        first_id=_unused_id(),
        # In a crowded market it counts how often one may search.
        limits={"search": VENDOR_LIMITS["search"]} if wishes.crowded else None,
    )
    emulator.market.private = wishes.private
    (crowd if wishes.crowded else stock)(emulator.market)
    return emulator


def _unused_id() -> int:
    """A number above every number that a former emulator gave: the time in microseconds.

    An emulator forgets its machines when it ends. A machine with the id of a forgotten one would be
    refused by the rows of that one.
    """
    return time.time_ns() // 1000


# What only one vendor's emulator can do, by the name of the option.
ONLY_OF: Final[Mapping[str, str]] = {"crowded": "vastai", "gpuless": "runpod"}
# A boot of a day shows nothing that a shorter one does not.
MOST_BOOT_SECONDS: Final = 86_400
# An hour in a millisecond. Beyond that, dates run out of years within a day.
MOST_SPEED: Final = 3_600_000
MOST_GPULESS: Final = 1000
VENDORS: Final[Mapping[str, Callable[[Wishes], Emulator]]] = {"runpod": _runpod, "vastai": _vastai}


class CannotServe(Exception):
    """The emulator cannot be started; the message says what is wrong and what would be right."""


def _seconds(text: str) -> float:
    value = _number(text)
    if value is None or not 0 <= value <= MOST_BOOT_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; give seconds from 0 to {MOST_BOOT_SECONDS}"
        )
    return value


def _speed(text: str) -> float:
    value = _number(text)
    if value is None or not 0 < value <= MOST_SPEED:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a speed; give a number above 0, {MOST_SPEED} at most"
        )
    return value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `manage.py emulate`."""
    parser.add_argument("vendor", choices=sorted(VENDORS), help="The vendor to emulate.")
    parser.add_argument(
        "--port", type=port, default=0, help="The port to listen on (default: a free port)."
    )
    parser.add_argument(
        "--key", action="append", help="An API key to accept (default: every key is accepted)."
    )
    parser.add_argument(
        "--boot-seconds",
        type=_seconds,
        default=6.0,
        help="Seconds from a create to a running container (default: 6).",
    )
    faster = "Seconds that pass for the vendor in each real second (default: 1). Bills grow faster."
    parser.add_argument("--speed", type=_speed, default=1.0, help=faster)
    parser.add_argument(
        "--agents",
        metavar="FOLDER",
        type=Path,
        help="Run a real agent for each machine, and keep in FOLDER what the agents print.",
    )
    parser.add_argument(
        "--crowded",
        action="store_true",
        help="vastai: a market of 750 offers, in which the 20 with an H100 are the dearest.",
    )
    text = "The images of this registry need this login, which is invented; may be repeated."
    login = "HOST=USER:PASSWORD"
    parser.add_argument(
        "--private", type=_private, action="append", default=[], metavar=login, help=text
    )
    parser.add_argument(
        "--gpuless",
        type=_count,
        default=0,
        metavar="N",
        help="runpod: the first N pods have 0 GPUs.",
    )


def _private(text: str) -> tuple[str, tuple[str, str]]:
    host, _, login = text.partition("=")
    user, _, password = login.partition(":")
    if not (host and user and password):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a registry with its login; give HOST=USER:PASSWORD"
        )
    return registry_named(host), (user, password)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_GPULESS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of pods; give one from 0 to {MOST_GPULESS}"
        )
    return int(text)


def serve(options: argparse.Namespace, *, say: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM. Then kill the agents.

    Raises:
        CannotServe: the port cannot be had, the folder cannot be made, or an option is of another
            vendor.
    """
    for name, vendor in ONLY_OF.items():
        if getattr(options, name) and options.vendor != vendor:
            raise CannotServe(f"--{name} is for {vendor}; leave it out for {options.vendor}")
    stop = threading.Event()
    agents = _agents(options.agents)
    wishes = Wishes(
        clock=wall_clock(speed=options.speed),
        boot_seconds=options.boot_seconds,
        keys=set(options.key) if options.key else None,
        backing=agents,
        crowded=options.crowded,
        gpuless=options.gpuless,
        private=PrivateImages(logins=dict(options.private)),
    )
    with _server(VENDORS[options.vendor](wishes), options.port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        account = json.dumps({"base_url": server.url})
        say(f"{options.vendor} is emulated at {server.url}")
        say(f"options of an account there: {account}; its key: {options.key or 'any'}")
        stop.wait()
    if agents is not None:
        agents.stop_all()
    say(f"{options.vendor} answered {len(server.exchanges)} requests")


def _agents(folder: Path | None) -> AgentProcesses | None:
    try:
        return None if folder is None else AgentProcesses(folder)
    except OSError as exc:
        raise CannotServe(
            f"--agents: the folder {folder} cannot be made ({exc.strerror}); give another one"
        ) from exc


def _server(emulator: Emulator, port: int) -> Server:
    try:
        return Server(emulator, port=port)
    except OSError as exc:
        raise CannotServe(
            f"--port: {port} cannot be used ({exc.strerror}); give another one, or leave it out"
        ) from exc
