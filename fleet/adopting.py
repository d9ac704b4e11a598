"""Adoption after a lost database: machines that still bill get rows again, from their tags."""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from fleet.models import Fleet
from fleet.tick import requesting
from pods import dispatch, lifecycle
from pods.accounts import connecting
from pods.accounts.connecting import Connect
from pods.base.clock import utcnow
from pods.machine_names import ANY_INSTALLATION, MachineName, fleet_tag
from pods.models import Account, Installation, Orphan, Pod
from pods.pod_rows import pod_of_machine, price_of
from pods.providers.base import Machine, Phase
from pods.rules import MachineOutcome, PodRule
from pods.states import BOOTING, STOPPED


class CannotAdopt(ValueError):
    """The adoption would go wrong; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine that some installation of Podfleet made."""

    account: Account
    machine: Machine
    slug: str
    fleet_id: int
    token: uuid.UUID
    known: bool  # it has a row here

    @property
    def hourly_usd(self) -> Decimal:
        """Its price in USD/hour; the highest that is likely if the vendor does not say it."""
        return price_of(self.machine, self.account, None)

    def as_json(self) -> dict[str, str | int | bool]:
        """The machine as JSON values: money as text."""
        return {
            "installation": self.slug,
            "fleet_id": self.fleet_id,
            "account": self.account.name,
            "external_id": self.machine.external_id,
            "phase": self.machine.phase.value,
            "hourly_usd": str(self.hourly_usd),
            "known": self.known,
        }


def found_machines(
    accounts: Sequence[Account], *, connect: Connect = connecting.connect
) -> Sequence[Found]:
    """Every machine of any installation on these accounts. Changes nothing.

    Raises:
        ProviderError: a vendor did not give the whole list; a missing machine would stay without a row.
        CannotConnect: an account cannot be used as it is.
    """
    found = []
    for account in accounts:
        machines = connect(account).list_tagged(ANY_INSTALLATION)
        ids = [m.external_id for m in machines]
        rows = set(
            Pod.objects.filter(provider=account.provider, external_id__in=ids).values_list(
                "external_id", flat=True
            )
        )
        for machine in machines:
            name = MachineName.parse(machine.name)
            if name is None or name.token is None or machine.phase is Phase.GONE:
                continue
            found.append(
                Found(
                    account=account,
                    machine=machine,
                    slug=name.slug,
                    fleet_id=name.fleet_id,
                    token=name.token,
                    known=machine.external_id in rows,
                )
            )
    return found


def adopt(found: Sequence[Found], slug: str, fleets: Mapping[int, Fleet]) -> Sequence[Pod]:
    """Take over an installation's name and give its machines rows, all of them or none.

    `fleets`: the fleet here for each fleet id of that installation. A machine with a row is not
    touched, so a second call does no harm. The ledger books the machines from now on; only the
    vendor's bill has their earlier cost.

    Raises:
        CannotAdopt: this installation has pods of its own under another name, or a fleet is missing:
            the manager would then destroy the fleet's machines as orphans.
    """
    theirs = [f for f in found if f.slug == slug]
    wanted = {f.fleet_id for f in theirs if not f.known}
    missing = sorted(wanted - fleets.keys())
    if not theirs:
        known = ", ".join(sorted({f.slug for f in found})) or "none"
        raise CannotAdopt(f"the installation {slug} has no machines; installations found: {known}")
    if missing:
        raise CannotAdopt(
            f"fleet {', '.join(map(str, missing))} of {slug} has machines too; give NAME=ID with "
            "the fleet that takes them, else they would be destroyed as orphans"
        )
    with transaction.atomic():
        _become(slug)
        pods = [_row(f, fleets[f.fleet_id]) for f in theirs if not f.known]
        for pod in pods:
            why = f"found under the name of {slug}"
            lifecycle.insert(pod, by="adopt", rule=PodRule.ADOPTED, because=why)
        Orphan.objects.filter(gone_at=None, external_id__in=[p.external_id for p in pods]).update(
            gone_at=utcnow(), outcome="adopted", outcome_kind=MachineOutcome.ADOPTED.value
        )
        for pod in pods:
            if pod.status is BOOTING:
                dispatch.send(dispatch.CHECK, pod.pk)
    return pods


def _become(slug: str) -> None:
    """Take over the installation's name, unless machines bill under our own name."""
    own = Installation.own().slug
    if own == slug:
        return
    if Pod.objects.billable().exists():
        raise CannotAdopt(
            f"pods bill here under the name {own}: drain them first, or adopt on an empty database"
        )
    Installation.objects.update(slug=slug)


def _row(found: Found, fleet: Fleet) -> Pod:
    """The row that a tick would have written, with the vendor's facts about the machine."""
    return pod_of_machine(
        requesting.template(fleet),
        found.account,
        found.machine,
        state=STOPPED if found.machine.phase is Phase.STOPPED else BOOTING,
        token=found.token,
        tag=fleet_tag(found.slug, found.fleet_id),
    )


def by_fleet(found: Sequence[Found]) -> Mapping[tuple[str, int], Sequence[Found]]:
    """The machines of each installation and fleet."""
    groups: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for each in found:
        groups[each.slug, each.fleet_id].append(each)
    return dict(sorted(groups.items()))
