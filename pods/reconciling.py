"""Compares the provider's machines with our rows, so that no machine stays without a row."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import DataError, IntegrityError, transaction

from pods import dispatch, lifecycle
from pods.accounts import breaker, connecting
from pods.accounts.connecting import Connect
from pods.base.shared_clock import shared_now
from pods.machine_names import MachineName, fleet_tag, read_token
from pods.models import Account, Installation, Orphan, Pod
from pods.pod_rows import Template, pod_of_machine, price_of
from pods.providers.base import Machine, Phase, Provider
from pods.providers.errors import ProviderError
from pods.rules import MachineOutcome, PodRule
from pods.states import BOOTING, ENDED, TERMINATING, PodState

log = structlog.get_logger(__name__)
# The least time between two sightings of an orphan, besides the provider's consistency window:
# a spawn may be about to store its id.
SIGHTINGS_APART: Final = timedelta(seconds=5)
# A value that the database does not take. That it does not answer is not a fault of one machine.
UNWRITABLE: Final = (DataError, IntegrityError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AsWhat:
    """What the row of a machine that had none says about it."""

    state: PodState
    rule: PodRule
    done: str
    outcome: str
    kind: MachineOutcome
    retire_rule: str = ""
    retire_because: str = ""


ADOPTED: Final = _AsWhat(
    state=BOOTING,
    rule=PodRule.ADOPTED,
    done="adopted",
    outcome="adopted",
    kind=MachineOutcome.ADOPTED,
)
UNWANTED: Final = _AsWhat(
    state=TERMINATING,
    rule=PodRule.ORPHAN,
    done="destroyed",
    outcome="has a row now, will be destroyed",
    kind=MachineOutcome.ENDING,
    retire_rule=PodRule.ORPHAN.value,
    retire_because="a machine without a row",
)
# What a fleet chooses for its pods; None if there is no fleet with that id.
TemplateOf = Callable[[int], Template | None]
# Whether a fleet can take a machine: a fleet that nothing ticks cannot.
Adopts = Callable[[int], bool]


@dataclass(slots=True, kw_only=True)
class Reconciled:
    """What a reconciliation did, by machine."""

    resurrected: list[str] = field(default_factory=list)  # their rows had ended
    adopted: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)


def reconcile_account(
    account: Account,
    *,
    template_of: TemplateOf,
    adopts: Adopts = lambda _fleet_id: True,
    connect: Connect = connecting.connect,
) -> Reconciled:
    """Compare the provider's list with the rows, and handle each machine without a living row.

    Machines that are not tagged as ours are not even listed. `template_of`: what a fleet chooses for
    its pods, which makes the row of a machine that has none. `adopts`: whether the fleet still takes
    machines; a machine of a fleet that does not gets a row that ends it.

    Raises:
        ProviderError: the list cannot be read; nothing was changed.
        CannotConnect: the account cannot be used as it is.
    """
    provider = connect(account)
    done = Reconciled()
    try:
        machines = [
            m for m in provider.list_tagged(Installation.tag()) if m.phase is not Phase.GONE
        ]
    except ProviderError as exc:
        breaker.failed(account, exc)
        raise
    breaker.answered(account)
    rows = _rows(account, machines)
    orphans: list[Machine] = []
    for machine in machines:
        row = rows.get(machine.external_id)
        if row is None:
            orphans.append(machine)
        elif row.status in ENDED:
            with _apart(machine):
                _resurrect(row, machine, done)
    _forget_gone(account, {m.external_id for m in orphans})
    _deal_with(account, provider, orphans, template_of, adopts, done)
    Account.objects.filter(pk=account.pk).update(reconciled_at=shared_now())
    return done


def _rows(account: Account, machines: Sequence[Machine]) -> Mapping[str, Pod]:
    """The row of each machine, by its id, or by its token if the row has no id yet."""
    ids = [m.external_id for m in machines]
    known = Pod.objects.filter(provider=account.provider, external_id__in=ids)
    by_id = {str(pod.external_id): pod for pod in known}
    tokens = {m.token: m for m in machines if m.external_id not in by_id and read_token(m.token)}
    for pod in Pod.objects.filter(client_token__in=tokens.keys(), external_id=None):
        by_id[tokens[pod.client_token.hex].external_id] = pod
    return by_id


def _resurrect(pod: Pod, machine: Machine, done: Reconciled) -> None:
    """Reopen an ended row whose machine lives: it counts again, and the machine is destroyed."""
    why = f"the provider lists {machine.external_id} although the pod is {pod.state}"
    if pod.ended_at and shared_now() - pod.ended_at < SIGHTINGS_APART:
        return
    try:
        if pod.external_id is None:
            lifecycle.remember(pod, machine.external_id)
        lifecycle.move(
            pod, TERMINATING, by="reconcile", because=why, absent_since=None, destroy_asked_at=None
        )
    except (lifecycle.Overtaken, lifecycle.DuplicateMachine):
        return
    done.resurrected.append(machine.external_id)
    dispatch.send(dispatch.TEARDOWN, pod.pk)


def _forget_gone(account: Account, present: set[str]) -> None:
    Orphan.objects.filter(account=account, gone_at=None).exclude(external_id__in=present).update(
        gone_at=shared_now(), outcome="gone, or has a row", outcome_kind=MachineOutcome.GONE.value
    )


def _deal_with(
    account: Account,
    provider: Provider,
    orphans: Sequence[Machine],
    template_of: TemplateOf,
    adopts: Adopts,
    done: Reconciled,
) -> None:
    now = shared_now()
    window = max(
        SIGHTINGS_APART, provider.capabilities.consistency_window, provider.capabilities.list_lag
    )
    for machine in orphans:
        with _apart(machine):
            seen = _sight(account, machine, now)
            if now - seen.first_seen_at < window:
                continue
            log.warning("orphan_found", account=account.name, external_id=machine.external_id)
            fleet_id = _fleet_id(machine)
            template = None if fleet_id is None else template_of(fleet_id)
            wish = seen.wish or account.orphans
            if template is None:
                _destroy_unowned(account, provider, machine, seen, done, wish=wish)
            else:
                adopt = wish == Account.Orphans.ADOPT and adopts(template.fleet_id)
                _give_row(account, template, machine, seen, done, adopt=adopt)


@contextmanager
def _apart(machine: Machine) -> Iterator[None]:
    """Log what cannot be stored of one machine, and continue with the others."""
    try:
        yield
    except UNWRITABLE as exc:
        log.error(
            "machine_not_reconciled",
            external_id=machine.external_id,
            error=type(exc).__name__,
            because=str(exc)[:300],
        )


def _sight(account: Account, machine: Machine, now: datetime) -> Orphan:
    orphan, _ = Orphan.objects.get_or_create(
        account=account,
        external_id=machine.external_id,
        defaults={
            "name": machine.name[:200],
            "fleet_id": _fleet_id(machine),
            "hourly_usd": price_of(machine, account, _fleet_id(machine)),
            "first_seen_at": now,
            "last_seen_at": now,
        },
    )
    if orphan.gone_at is not None:  # it was handled and is back: the old wish does not count
        orphan.first_seen_at, orphan.gone_at, orphan.outcome = now, None, ""
        orphan.wish = orphan.wished_by = orphan.outcome_kind = ""
        orphan.save(update_fields=["wish", "wished_by", "outcome_kind"])
    orphan.last_seen_at = now
    if machine.hourly_usd is not None:
        orphan.hourly_usd = machine.hourly_usd
    orphan.save(update_fields=["first_seen_at", "last_seen_at", "gone_at", "outcome", "hourly_usd"])
    return orphan


def _fleet_id(machine: Machine) -> int | None:
    """The id of the fleet in a machine's name; None if the name is not one of ours."""
    name = MachineName.parse(machine.name)
    if name is None or name.slug != Installation.own().slug:
        return None
    return name.fleet_id


def _give_row(
    account: Account,
    template: Template,
    machine: Machine,
    seen: Orphan,
    done: Reconciled,
    *,
    adopt: bool,
) -> None:
    """Adopt the machine, or give it a row that ends it; in both cases it counts from now on.

    The machine was most likely made like the newest pod of its fleet, so the row copies that pod.
    """
    newest = Pod.objects.filter(fleet_id=template.fleet_id).order_by("-pk").first()
    token = _free_token(machine)
    # A second machine with a row's token (F14) was made by accident: it is never adopted.
    adopt = adopt and token is not None and newest is not None
    if seen.wish == Account.Orphans.ADOPT and not adopt:
        # The operator wants it to live, so it is not ended instead.
        why = "its fleet is archived, never had a pod, or has it already"
        _say(seen, MachineOutcome.NOT_ADOPTED, f"cannot be adopted: {why}")
        return
    as_what = ADOPTED if adopt else UNWANTED
    pod = pod_of_machine(
        template if newest is None else Template.of(newest),
        account,
        machine,
        state=as_what.state,
        token=token or uuid.uuid4(),
        tag=fleet_tag(Installation.own().slug, template.fleet_id),
        retire_rule=as_what.retire_rule,
        retire_because=as_what.retire_because,
    )
    try:
        if not _inserted(pod, seen, as_what):
            return
    except IntegrityError:
        return  # another reconciliation, or the machine's spawn, was first
    (done.adopted if adopt else done.destroyed).append(machine.external_id)
    dispatch.next_step(pod.pk, as_what.state)


def _inserted(pod: Pod, seen: Orphan, as_what: _AsWhat) -> bool:
    """Insert the row and write the orphan off, together; False if an operator's wish came between."""
    because = f"found without a row: {as_what.done}"
    same = Orphan.objects.filter(pk=seen.pk, wish=seen.wish)
    with transaction.atomic():
        written = {"outcome": as_what.outcome, "outcome_kind": as_what.kind.value}
        if not same.update(gone_at=shared_now(), **written):
            return False
        lifecycle.insert(
            pod, by=seen.wished_by or "reconcile", rule=as_what.rule, because=because,
            billed_since=seen.first_seen_at,
        )  # fmt: skip
    return True


def _say(seen: Orphan, kind: MachineOutcome, outcome: str) -> None:
    there = Orphan.objects.filter(pk=seen.pk, gone_at=None)
    there.update(outcome=outcome[:200], outcome_kind=kind.value)


def _free_token(machine: Machine) -> uuid.UUID | None:
    """The machine's token, if it is one of ours and no row has it."""
    token = read_token(machine.token)
    if token is not None and Pod.objects.filter(client_token=token).exists():
        return None
    return token


def _destroy_unowned(
    account: Account,
    provider: Provider,
    machine: Machine,
    seen: Orphan,
    done: Reconciled,
    *,
    wish: str,
) -> None:
    """Destroy a machine whose fleet has no row here; try again at each reconciliation."""
    if wish != Account.Orphans.DESTROY:
        if seen.wish:
            _say(seen, MachineOutcome.NOT_ADOPTED, "cannot be adopted: its fleet is not here")
        return
    try:
        provider.destroy(machine.external_id)
    except ProviderError as exc:
        breaker.failed(account, exc)
        _say(seen, MachineOutcome.DESTROY_FAILED, f"destroy: {exc}")
        return
    if seen.wish:
        _say(seen, MachineOutcome.DESTROY_ASKED, "the vendor was asked to destroy it")
    done.destroyed.append(machine.external_id)
