"""The example provider of the docs: it is installed as a package, and tested by both contracts."""

import os
import subprocess
import zipfile
from collections.abc import Collection, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import stamina

from pods.emulators.base import Reply, Server, SteppedClock
from pods.providers import registry
from pods.providers.base import OfferQuery, PodSpec, Provider
from pods.providers.clients import CLIENTS
from pods.providers.http import Timeouts, VendorHttp
from tests.contract.provider_contract import ProviderContract
from tests.contract.vendor_contract import VendorContract
from tests.support.programs import command
from tests.support.rigs.acme_emulator import SERVERS, AcmeEmulator
from tests.support.rigs.server_faults import ALL, MANY, Route, ServerFaults
from tests.support.third_party import leaves_nothing_imported
from tests.support.wheels import built

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example_provider"
GUIDE = ROOT / "docs" / "howto" / "provider-example.md"
KEY = "acme-0123456789"
ONE = f"{SERVERS}/[^/]+"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of the example, unpacked as an installer does it."""
    folder = tmp_path_factory.mktemp("acme")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "podfleet_acme.py"):
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    with zipfile.ZipFile(built(source, folder)) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


class AcmeFaults(ServerFaults):
    """The faults that Acme reports in its own words."""

    def __init__(self, server: Server, acme: AcmeEmulator) -> None:
        super().__init__(
            server,
            create=Route(method="POST", path=SERVERS),
            lists=Route(method="GET", path=SERVERS),
            destroy=Route(method="DELETE", path=ONE),
        )
        self.acme = acme

    def bill_for_next_refusal(self) -> bool:
        return False

    def refuse(self, text: str) -> None:
        body = {"error": {"code": "invalid", "message": text}}
        self.server.faults.answer("", ALL, Reply(status=422, json=body), times=MANY)

    def revoke_key(self) -> None:
        self.acme.key = "another"

    def use_up_funds(self) -> None:
        self.acme.has_money = False

    def sell_out(self) -> None:
        for plan in self.acme.plans.values():
            plan.free = 0

    def fill_host(self, external_id: str) -> None:
        raise AssertionError("Acme cannot stop")

    def hide_new_machines(self, seconds: float) -> None:
        self.acme.lag = timedelta(seconds=seconds)

    def forget_destroys(self) -> None:
        self.server.faults.answer("DELETE", ONE, Reply(status=204), times=MANY)

    def take_away(self, external_id: str) -> None:
        self.acme.end(external_id)

    def add_fields(self) -> None:
        self._edit({"mood": {"good": True}})

    def rename_statuses(self) -> None:
        self._edit({"state": "hibernating"})

    def shift_next_list(self) -> None:
        order = {"reference": "x", "name": "a-stranger", "plan": "large", "image": "i"}
        stranger = self.acme.servers.pop(self.acme.make(order).id)
        stranger.id = "srv-000000"  # the list begins with it
        self.acme.servers[stranger.id] = stranger
        self.after_next_list(lambda: self.acme.end(stranger.id))

    def clear(self) -> None:
        super().clear()
        self.acme.key = None

    def _edit(self, changes: dict[str, Any]) -> None:
        def edit(body: Any) -> Any:
            if "servers" in body:
                return {**body, "servers": [{**row, **changes} for row in body["servers"]]}
            return {**body, "server": {**body["server"], **changes}}

        self.edit_machines(f"{SERVERS}|{ONE}", edit)


class AcmeSubject:
    """An account at the emulator, whose time is stepped."""

    secret = KEY
    unknown_id = "srv-999999"
    one_token_is_one_machine = True

    def __init__(self, server: Server, acme: AcmeEmulator, clock: SteppedClock) -> None:
        self.server, self.acme, self.clock = server, acme, clock
        self.faults = AcmeFaults(server, acme)
        self.provider = self.reconnected()
        hasty = Timeouts(read=0.2, total=0.5)
        http = VendorHttp(base_url=server.url, secret=KEY, timeouts=hasty)
        self.impatient: Provider = import_module("podfleet_acme").Acme(http)

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"image": "registry.example/worker:1.4.2", "offer_key": "small", **changes}
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def reconnected(self) -> Provider:
        options = {"base_url": self.server.url}
        return registry.create_provider("acme", options=options, secret=KEY)

    def living(self) -> Collection[str]:
        return list(self.acme.servers)

    def sent(self) -> int:
        return self.server.calls()

    def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def subject(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AcmeSubject]:
    monkeypatch.syspath_prepend(installed)
    clock = SteppedClock()
    acme = AcmeEmulator(clock)
    with (
        leaves_nothing_imported(installed),
        Server(acme) as server,
        stamina.set_testing(True, attempts=3),
    ):
        yield AcmeSubject(server, acme, clock)
        CLIENTS.close()
    assert not server.complaints


class TestAcme(ProviderContract):
    pass


class TestAcmeThatFails(VendorContract):
    pass


def test_the_installed_package_is_a_provider_like_any_other(installed: Path) -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"}
    said = subprocess.check_output(command("make_provider", "acme"), env=env, cwd="/", text=True)
    assert said.strip() == "Acme"


def test_a_wrong_option_of_the_example_is_refused(subject: AcmeSubject) -> None:
    for options, secret, says in (
        ({"base_ulr": "https://x.example"}, KEY, "use base_url"),
        ({"base_url": "http://api.acme.example"}, KEY, "https"),
        ({}, None, "needs a key"),
    ):
        with pytest.raises(ValueError, match=says):
            registry.create_provider("acme", options=options, secret=secret)


def test_an_offer_whose_price_cannot_be_believed_is_left_out(subject: AcmeSubject) -> None:
    subject.acme.plans["small"].usd_per_hour = -1
    with pytest.raises(Exception, match="no price that can be believed"):
        subject.provider.offers(OfferQuery())


@pytest.mark.parametrize("name", ["podfleet_acme.py", "pyproject.toml"])
def test_the_guide_shows_the_example_as_it_is(name: str) -> None:
    kind = {"py": "python", "toml": "toml"}[name.rpartition(".")[2]]
    shown = f"```{kind}\n{(EXAMPLE / name).read_text()}```\n"
    assert shown in GUIDE.read_text()
