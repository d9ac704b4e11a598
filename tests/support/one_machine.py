"""A provider with one machine, which answers each call as the test says."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from pods.models import Account, Pod
from pods.providers.base import Capabilities, Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.errors import NotFound, ProviderError


@dataclass(slots=True)
class OneMachine:
    """The account of one pod. A test may change the attributes."""

    pod: Pod
    by_status: Phase | None = Phase.RUNNING  # None: not known there
    listed: Phase | None = Phase.RUNNING  # None: not in the list
    fails: dict[str, ProviderError] = field(default_factory=dict)  # by the name of the call
    asked: list[str] = field(default_factory=list)
    machine: Machine | None = None
    output: str = ""
    usd: Decimal | None = None
    for_rent: Sequence[Offer] = ()
    others: Sequence[Machine] = ()  # in the list
    name: str = "local"
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(can_stop=True))

    def connect(self, _account: Account) -> "OneMachine":
        return self

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        self._note("offers")
        return self.for_rent

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        self._note("create")
        return self._as(Phase.BOOTING)

    def status(self, external_id: str) -> Machine:
        self._note("status")
        if self.by_status is None or external_id != self.pod.external_id:
            raise NotFound("no such machine")
        return self._as(self.by_status)

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        self._note("list")
        return [*self.others, *([] if self.listed is None else [self._as(self.listed)])]

    def stop(self, external_id: str) -> None:
        self._note("stop")

    def start(self, external_id: str) -> None:
        self._note("start")

    def destroy(self, external_id: str) -> None:
        self._note("destroy")

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        self._note("logs")
        return self.output

    def balance(self) -> Decimal | None:
        return self.usd

    def _note(self, call: str) -> None:
        self.asked.append(call)
        if call in self.fails:
            raise self.fails[call]

    def _as(self, phase: Phase) -> Machine:
        machine = self.machine or Machine(
            external_id=self.pod.external_id or "machine-1",
            token=self.pod.client_token.hex,
            name=self.pod.name,
            phase=phase,
        )
        return replace(machine, phase=phase)
