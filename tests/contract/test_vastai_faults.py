"""The contract of vendors that fail, tested on the emulated Vast.ai."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.emulators.vastai_contracts import Contract
from pods.providers.http import Timeouts, VendorHttp
from pods.providers.vastai import Vastai, wire
from pods.providers.vastai.options import Options
from tests.contract.vendor_contract import VendorContract
from tests.support.rigs.server_faults import ALL, MANY, Route, ServerFaults
from tests.support.rigs.vastai_rig import (
    KEY,
    LEAVING,
    Rig,
    VastaiSubject,
    beside_strangers,
)

HASTE = Timeouts(read=0.2, total=0.5)
ONE = r"/api/v0/instances/\d+/?"
LIST = r"/api/v1/instances/"


class VastaiFaults(ServerFaults):
    """The faults that Vast.ai reports in its own words."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(
            rig.server,
            create=Route(method="PUT", path=r"/api/v0/asks/\d+/"),
            lists=Route(method="GET", path=LIST),
            destroy=Route(method="DELETE", path=ONE),
        )
        self.rig, self.market = rig, rig.emulator.market
        self._monkeypatch = monkeypatch

    def bill_for_next_refusal(self) -> bool:
        self.rig.emulator.quirks.errors_create = 1
        return True

    def refuse(self, text: str) -> None:
        body = {"success": False, "error": text, "msg": text, "detail": text}
        self.server.faults.answer("", ALL, Reply(status=400, json=body), times=MANY)

    def hold_answers(self) -> None:
        # The adapter has a timeout of its own for a create.
        self._monkeypatch.setattr(wire, "SLOW", HASTE)
        super().hold_answers()

    def revoke_key(self) -> None:
        self.rig.emulator.keys = {"another"}

    def use_up_funds(self) -> None:
        self.rig.emulator.quirks.unfunded = "insufficient_credit"

    def sell_out(self) -> None:
        for slot in self.market.slots:
            slot.listed = False

    def fill_host(self, external_id: str) -> None:
        self.market.rival_rents(self._contract(external_id).slot)

    def hide_new_machines(self, seconds: float) -> None:
        self.market.pace.list_lag = self.market.pace.status_lag = timedelta(seconds=seconds)

    def forget_destroys(self) -> None:
        self.rig.emulator.quirks.keeps_destroyed = True

    def take_away(self, external_id: str) -> None:
        self.market.destroy(self._contract(external_id))
        self.rig.clock.advance(LEAVING.total_seconds())

    def add_fields(self) -> None:
        self._edit_rows({"karma": {"a": [1]}, "price": "free"})

    def rename_statuses(self) -> None:
        self._edit_rows({"actual_status": "meditating"})

    def shift_next_list(self) -> None:
        # The oldest machine is listed first. Without it, each later page begins one row too late.
        oldest = next(iter(self.market.contracts))
        self.after_next_list(lambda: self.take_away(str(oldest)))

    def clear(self) -> None:
        super().clear()
        self.rig.emulator.keys = None
        self.rig.emulator.quirks.keeps_destroyed = False

    def _contract(self, external_id: str) -> Contract:
        return self.market.contracts[int(external_id)]

    def _edit_rows(self, changes: dict[str, Any]) -> None:
        def edit(body: Any) -> Any:
            rows = body["instances"]
            if isinstance(rows, list):
                return {**body, "instances": [{**row, **changes} for row in rows], "more": 1}
            return {**body, "instances": {**rows, **changes}}

        self.edit_machines(rf"{LIST}|{ONE}", edit)


class FaultyVastai(VastaiSubject):
    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(rig)
        self.faults = VastaiFaults(rig, monkeypatch)
        http = VendorHttp(base_url=rig.server.url, secret=KEY, timeouts=HASTE)
        self.impatient = Vastai(http, Options(base_url=rig.server.url))


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyVastai]:
    """The machines of somebody else fill the first page of every list."""
    with beside_strangers() as rig:
        yield FaultyVastai(rig, monkeypatch)


class TestVastaiThatFails(VendorContract):
    pass
