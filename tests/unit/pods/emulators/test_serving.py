"""What `manage.py emulate` says about a wrong argument, and which modules the emulators need."""

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from pods.emulators.base import Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import RunPodState
from pods.emulators.serving import VENDORS, CannotServe, Wishes, add_arguments, serve
from tests.support.programs import command

FACTS: Any = {"label": "a", "image": "i", "args": [], "env": {}, "disk": Decimal(8)}


def parsed(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["runpod", *arguments])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--port", "65536"), "'65536' is not a port; give a number from 0 to 65535"),
        (("--port=-1",), "'-1' is not a port"),
        (("--port", "٧"), "is not a port"),
        (("--boot-seconds=-3",), "'-3' is not a time; give seconds from 0 to 86400"),
        (("--boot-seconds", "nan"), "'nan' is not a time"),
        (("--boot-seconds", "long"), "'long' is not a time"),
        (("--speed", "0"), "'0' is not a speed; give a number above 0, 3600000 at most"),
        (("--speed", "inf"), "'inf' is not a speed"),
        (("--speed", "nan"), "'nan' is not a speed"),
        (("--gpuless=-1",), "'-1' is not a number of pods; give one from 0 to 1000"),
        (("--gpuless", "1001"), "'1001' is not a number of pods"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_would_be_right(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*arguments)
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_named() -> None:
    with Server(RunPodEmulator(RunPodState(clock=wall_clock()))) as other:
        port = other.url.rpartition(":")[2]
        with pytest.raises(CannotServe, match=f"--port: {port} cannot be used .*give another one"):
            serve(parsed("--port", port))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotServe, match=r"--agents: the folder .* cannot be made"):
        serve(parsed("--agents", str(tmp_path / "file" / "logs")))


def test_an_option_of_another_vendor_is_refused() -> None:
    with pytest.raises(CannotServe, match="--crowded is for vastai; leave it out for runpod"):
        serve(parsed("--crowded"))


def test_a_crowded_market_has_750_offers_and_20_of_them_are_what_fleets_want() -> None:
    wishes = Wishes(clock=wall_clock(), boot_seconds=0, keys=None, backing=None, crowded=True)
    vastai: Any = VENDORS["vastai"](wishes)
    offered = list(vastai.market.offered())
    dear = sorted(offered, key=lambda slot: slot.gpu_usd)[-20:]
    assert len(offered) == 750
    assert {slot.gpu_name for slot in dear} == {"H100 SXM"}


def test_the_first_pods_come_back_without_gpus_if_that_is_asked_for() -> None:
    wishes = Wishes(clock=wall_clock(), boot_seconds=0, keys=None, backing=None, gpuless=2)
    runpod: Any = VENDORS["runpod"](wishes)
    made = [
        runpod.state.create({"name": "a", "gpu": {"id": runpod.state.catalog[0].id}})
        for _ in range(3)
    ]
    assert [runpod.pod_json(pod)["gpu"]["count"] for pod in made] == [0, 0, 1]


def test_a_restarted_emulator_gives_no_id_again() -> None:
    wishes = Wishes(clock=wall_clock(), boot_seconds=0, keys=None, backing=None)
    given: list[object] = []
    for _ in range(3):  # each forgets the machines of the one before it
        runpod: Any = VENDORS["runpod"](wishes)
        state = runpod.state
        given += [state.create({"gpu": {"id": state.catalog[0].id}}).id for _ in range(3)]
        vastai: Any = VENDORS["vastai"](wishes)
        slots = list(vastai.market.offered())[:3]
        given += [vastai.market.rent(slot, bid=None, cancel=True, **FACTS).id for slot in slots]
    assert len(set(given)) == len(given) == 18


def test_the_emulators_need_nothing_but_the_standard_library() -> None:
    before, after = loaded(), loaded("pods.emulators.serving")
    assert {name.partition(".")[0] for name in after - before} - sys.stdlib_module_names == {"pods"}


def loaded(*modules: str) -> set[str]:
    """What a new process has loaded once it has imported these."""
    printed = subprocess.check_output(command("loaded", *modules), cwd=ROOT, text=True)
    return set(json.loads(printed))
