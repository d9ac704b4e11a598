"""The limits of the installation, and the switch that stops everything."""

from typing import Any, Final, Literal

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from ninja import Router
from pydantic import BaseModel, Field

from fleet import stopping
from fleet.api.auth import by, needs
from fleet.api.problems import Problem
from fleet.api.values import Count, Given, IfMatch, Moment, Usd, UsdIn, is_named
from fleet.decision.values import Mode
from fleet.models import Limits
from fleet.operating import EditedMeanwhile

router: Final = Router(tags=["limits"])


class LimitsOut(BaseModel):
    """The guardrails of all fleets together; null: no limit."""

    mode: str
    mode_by: str
    mode_at: Moment | None
    stopped: bool
    max_instances: int | None
    max_hourly_usd: Usd | None
    daily_budget_usd: Usd | None


class LimitsEdit(Given):
    """What to change; null: no limit."""

    mode: Literal["running", "paused"] = Field(
        "running", description="POST /stop stops everything."
    )
    max_instances: Count | None = None
    max_hourly_usd: UsdIn | None = None
    daily_budget_usd: UsdIn | None = None


class Stopped(BaseModel):
    """The switch, and what it ends."""

    changed: bool = Field(description="False: everything was stopped already.")
    mode: str
    mode_by: str
    mode_at: Moment | None
    pods: int = Field(description="Pods that may bill now.")
    hourly_usd: Usd
    unknown_machines: int = Field(description="Machines without a pod: no fleet ends them.")
    unticked: list[str] = Field(description="Fleets with pods that nothing ticks.")
    undecided: list[str] = Field(
        description="Fleets with pods on which nothing has decided lately."
    )


def _etag(limits: Limits) -> str:
    # Every write raises the version.
    return f'"{salted_hmac("fleet.api.limits", str(limits.version)).hexdigest()[:32]}"'


def _answer(limits: Limits) -> HttpResponse:
    own = {name: getattr(limits, name) for name in LimitsOut.model_fields}
    return HttpResponse(
        LimitsOut(**own).model_dump_json(), content_type="application/json; charset=utf-8",
        headers={"ETag": _etag(limits)},
    )  # fmt: skip


@router.get("/limits", response=LimitsOut, **needs("fleet.view_limits"))
def read_limits(request: HttpRequest) -> HttpResponse:
    """Read the limits of the installation. The header ETag is for an edit."""
    return _answer(Limits.get())


@router.patch("/limits", response=LimitsOut, **needs("fleet.change_limits"))
def edit_limits(request: HttpRequest, wanted: LimitsEdit, if_match: IfMatch) -> HttpResponse:
    """Change the limits that are sent, and no others; in force from the next tick of each fleet."""
    changes: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if not changes:
        raise Problem(422, "nothing to change; send at least one field")
    seen = Limits.get()
    _refuse_stale(seen, if_match)
    _clean(changes)
    try:
        done = stopping.set_limits(changes, by=by(request), seen=None if if_match == "*" else seen)
    except EditedMeanwhile as exc:
        raise Problem(412, str(exc)) from exc
    if not done:
        text = "everything is stopped, so the mode stays as it is; POST /api/v1/stop/undo first"
        raise Problem(409, text)
    return _answer(Limits.get())


def _refuse_stale(seen: Limits, if_match: str) -> None:
    if not if_match:
        raise Problem(
            428, "send the header If-Match with the ETag of the limits that you have read"
        )
    if not is_named(_etag(seen), if_match):
        raise Problem(412, "somebody else changed the limits meanwhile; read them again, then edit")


def _clean(changes: dict[str, Any]) -> None:
    """Check each value as its form does.

    Raises:
        ValidationError: one is wrong.
    """
    row = Limits(pk=1, **changes)
    row.clean_fields(exclude={f.name for f in Limits._meta.concrete_fields} - changes.keys())


def _stopped(changed: bool) -> Stopped:
    limits, there = Limits.get(), stopping.reach()
    return Stopped(
        changed=changed, mode=limits.mode, mode_by=limits.mode_by, mode_at=limits.mode_at,
        pods=there.pods, hourly_usd=there.hourly_usd, unknown_machines=there.orphans,
        unticked=list(there.unticked), undecided=list(there.undecided),
    )  # fmt: skip


@router.get("/stop", response=Stopped, **needs("fleet.view_limits"))
def read_stop(request: HttpRequest) -> Stopped:
    """Say whether everything is stopped, and what stopping it ends."""
    return _stopped(changed=False)


@router.post("/stop", response=Stopped, **needs("fleet.change_fleet"))
def stop_everything(request: HttpRequest) -> Stopped:
    """Stop all fleets with one switch: no pod starts, and every pod is drained and destroyed."""
    return _stopped(changed=stopping.stop_everything(by=by(request)))


@router.post("/stop/undo", response=Stopped, **needs("fleet.change_fleet"))
def undo_stop(request: HttpRequest) -> Stopped:
    """Undo the stop of everything: each fleet goes on in its own mode."""
    limits = Limits.get()
    if not limits.stopped:
        raise Problem(409, "nothing is stopped: there is nothing to undo")
    mode = stopping.undo_stop(limits, by=by(request))
    return _stopped(changed=mode is not Mode.STOP_ALL)
