"""The contract of vendors that fail, tested on the emulated RunPod."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.providers.http import Timeouts, VendorHttp
from pods.providers.runpod import provider
from pods.providers.runpod.options import Options
from tests.contract.vendor_contract import VendorContract
from tests.support.rigs.runpod_rig import KEY, POD, PODS, Rig, RunPodSubject, runpod
from tests.support.rigs.server_faults import ALL, MANY, Route, ServerFaults

HASTE = Timeouts(read=0.2, total=0.5)


class RunPodFaults(ServerFaults):
    """The faults that RunPod reports in its own words."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(
            rig.server,
            create=Route(method="POST", path=PODS),
            lists=Route(method="GET", path=PODS),
            destroy=Route(method="DELETE", path=POD),
        )
        self.rig, self._monkeypatch = rig, monkeypatch

    def bill_for_next_refusal(self) -> bool:
        return False  # its refusals do not name a pod

    def refuse(self, text: str) -> None:
        body = {"title": text, "status": 400, "detail": text, "errors": [text]}
        self.server.faults.answer("", ALL, Reply(status=400, json=body), times=MANY)

    def hold_answers(self) -> None:
        # The adapter has a timeout of its own for a create.
        self._monkeypatch.setattr(provider, "CREATING", HASTE)
        super().hold_answers()

    def revoke_key(self) -> None:
        self.rig.emulator.keys = {"another"}

    def use_up_funds(self) -> None:
        self.rig.state.balance_usd = Decimal("0.10")

    def sell_out(self) -> None:
        for gpu in self.rig.state.catalog:
            gpu.stock = dict.fromkeys(gpu.stock, 0)

    def fill_host(self, external_id: str) -> None:
        self.rig.state.full_hosts.add(external_id)

    def hide_new_machines(self, seconds: float) -> None:
        self.rig.state.list_lag = self.rig.state.get_lag = seconds

    def forget_destroys(self) -> None:
        self.server.faults.answer("DELETE", POD, Reply(status=204), times=MANY)

    def take_away(self, external_id: str) -> None:
        self.rig.state.vanish(external_id)

    def add_fields(self) -> None:
        self._edit_pods({"quantum": {"entangled": True}, "price": "free"})

    def rename_statuses(self) -> None:
        self._edit_pods({"status": "HIBERNATED"})

    def shift_next_list(self) -> None:
        # The newest pod is listed first. Without it, each later page begins one row too late.
        gpu = {"id": "NVIDIA H100 80GB HBM3", "count": 1}
        stranger = self.rig.state.create({"name": "a-stranger", "image": "i", "gpu": gpu})
        self.after_next_list(lambda: self.rig.state.vanish(stranger.id))

    def clear(self) -> None:
        super().clear()
        self.rig.emulator.keys = None

    def _edit_pods(self, changes: dict[str, Any]) -> None:
        def edit(body: Any) -> Any:
            if "pods" in body:
                return {**body, "pods": [{**pod, **changes} for pod in body["pods"]]}
            return {**body, **changes}

        self.edit_machines(rf"{PODS}|{POD}", edit)


class FaultyRunPod(RunPodSubject):
    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(rig)
        self.faults = RunPodFaults(rig, monkeypatch)
        http = VendorHttp(base_url=rig.server.url, secret=KEY, timeouts=HASTE)
        self.impatient = provider.RunPod(http, Options.parse({"base_url": rig.server.url}))


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRunPod]:
    with runpod(page_size=3) as rig:
        yield FaultyRunPod(rig, monkeypatch)


class TestRunPodThatFails(VendorContract):
    pass
