"""Unknown machines: those of ours that bill and belong to no pod."""

from typing import Final

from django.http import HttpRequest
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet.api import paging
from fleet.api.auth import OF_A_POD, by, needs
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Id, Moment, Usd
from pods import orphans
from pods.models import Account, Orphan

router: Final = Router(tags=["machines"])


class MachineOut(BaseModel):
    """A machine of ours without a pod."""

    id: int
    external_id: str = Field(description="Its id at the vendor.")
    name: str
    account: str
    hourly_usd: Usd
    first_seen_at: Moment
    gone_at: Moment | None
    wish: str = Field(description="What somebody decided: adopt, destroy, or nothing yet.")
    wished_by: str
    outcome_kind: str
    outcome: str


class MachinePage(Page):
    """Machines, those seen last first."""

    items: list[MachineOut]


class WhichMachines(Asked):
    """Which machines."""

    all: bool = Field(False, description="Handled ones too.")


def _of(row: Orphan) -> MachineOut:
    own = {n: getattr(row, n) for n in MachineOut.model_fields if n not in {"id", "account"}}
    return MachineOut(**own, id=row.pk, account=row.account.name)


@router.get("/machines", response=MachinePage, **needs("pods.view_orphan"))
def list_machines(request: HttpRequest, asked: Query[WhichMachines]) -> MachinePage:
    """List the machines that bill and belong to no pod."""
    rows = Orphan.objects.select_related("account")
    found, more = paging.by_id(rows if asked.all else rows.filter(gone_at=None), asked)
    return MachinePage(items=[_of(row) for row in found], next=more)


def _decide(request: HttpRequest, machine_id: int, wish: Account.Orphans) -> MachineOut:
    rows = Orphan.objects.select_related("account").filter(pk=machine_id)
    if not rows.exists():
        raise Problem(404, "no unknown machine has this id; GET /api/v1/machines lists them")
    if not orphans.decide(machine_id, wish, by=by(request, most=OF_A_POD)):
        raise Problem(409, "it has a pod by now, or is gone")
    return _of(rows.get())


@router.post("/machines/{machine_id}/adopt", response=MachineOut, **needs("pods.change_pod"))
def adopt_machine(request: HttpRequest, machine_id: Path[Id]) -> MachineOut:
    """Make a machine a pod of its fleet, at the next comparison within a minute."""
    return _decide(request, machine_id, Account.Orphans.ADOPT)


@router.post("/machines/{machine_id}/destroy", response=MachineOut, **needs("pods.change_pod"))
def destroy_machine(request: HttpRequest, machine_id: Path[Id]) -> MachineOut:
    """Destroy a machine, at the next comparison within a minute; what is on it is lost."""
    return _decide(request, machine_id, Account.Orphans.DESTROY)
