"""Pods: the list, one with its newest events, and the operators' verbs."""

from typing import Any, Final, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api import paging
from fleet.api.auth import OF_A_POD, by, needs
from fleet.api.named import fleet_called, pod_called
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Moment, Usd
from pods import operating
from pods.base.clock import utcnow
from pods.costs import columns
from pods.models import Pod
from pods.operating import PodVerb
from pods.states import ENDED, PodState

router: Final = Router(tags=["pods"])
EVENTS_SHOWN: Final = 50
State = Literal[tuple(state.value for state in PodState)]  # type: ignore[valid-type]


class PodOut(BaseModel):
    """A pod. What is not known is null."""

    id: int
    name: str
    fleet: str
    account: str
    provider: str
    external_id: str | None = Field(description="The id of its machine at the vendor.")
    state: str
    state_since: Moment
    because: str = Field(description="Why it is in this state.")
    gpu_type: str
    gpu_count: int
    region: str
    host: str
    interruptible: bool
    image: str
    hourly_usd: Usd
    cost_usd: Usd = Field(description="What it has cost so far.")
    done: int = Field(description="Items.")
    failed: int
    dead: int
    items_per_second: float
    bottleneck: str
    requested_at: Moment
    ready_at: Moment | None
    idle_since: Moment | None
    beat_at: Moment | None = Field(description="Its last heartbeat.")
    ended_at: Moment | None
    failed_at: Moment | None
    retire_rule: str
    retire_because: str
    lost_because: str
    note: str


class EventOut(BaseModel):
    """A change of a pod."""

    at: Moment
    by: str
    before: str
    after: str
    rule: str
    because: str


class PodDetail(PodOut):
    """A pod with its newest events, the newest first."""

    events: list[EventOut]


class PodPage(Page):
    """Pods, those requested last first."""

    items: list[PodOut]


class WhichPods(Asked):
    """Which pods."""

    fleet: str = Field("", max_length=40, description="Of this fleet.")
    state: State | None = None  # type: ignore[valid-type]
    billing: bool = Field(False, description="Only those that may bill.")


class Begun(BaseModel):
    """What became of a verb."""

    begun: bool = Field(description="False: there was nothing to do, such as for a pod that ended.")
    pod: PodOut


def _rows() -> QuerySet[Pod]:
    return columns.with_cost(Pod.objects.select_related("fleet", "account"), utcnow())


def _of(pod: Any) -> dict[str, Any]:
    own = {name: getattr(pod, name) for name in PodOut.model_fields if hasattr(pod, name)}
    return {
        **own, "id": pod.pk, "fleet": pod.fleet.name, "account": pod.account.name,
        "items_per_second": pod.rate,
    }  # fmt: skip


@router.get("/pods", response=PodPage, **needs("pods.view_pod"))
def list_pods(request: HttpRequest, asked: Query[WhichPods]) -> PodPage:
    """List pods, also those that have ended."""
    rows = _rows()
    if asked.fleet:
        rows = rows.filter(fleet=fleet_called(asked.fleet))
    if asked.state is not None:
        rows = rows.filter(state=asked.state)
    if asked.billing:
        rows = rows.exclude(state__in=[state.value for state in ENDED])
    found, more = paging.by_id(rows, asked)
    return PodPage(items=[PodOut(**_of(pod)) for pod in found], next=more)


@router.get("/pods/{name}", response=PodDetail, **needs("pods.view_pod"))
def read_pod(request: HttpRequest, name: str) -> PodDetail:
    """Read a pod, by its name or its id, with its newest events."""
    pod = pod_called(_rows(), name)
    events = [
        EventOut(at=e.at, by=e.by, before=e.before, after=e.after, rule=e.rule, because=e.because)
        for e in pod.events.order_by("-pk")[:EVENTS_SHOWN]
    ]
    return PodDetail(**_of(pod), events=events)


def _act(request: HttpRequest, name: str, verb: PodVerb) -> Begun:
    pod = pod_called(Pod.objects.all(), name)
    begun = operating.act(pod, verb, by=by(request, most=OF_A_POD))
    now = _rows().filter(pk=pod.pk).first()
    if now is None:
        raise Problem(404, "the pod is gone: its fleet was deleted meanwhile")
    return Begun(begun=begun, pod=PodOut(**_of(now)))


@router.post("/pods/{name}/drain", response=Begun, **needs("pods.change_pod"))
def drain_pod(request: HttpRequest, name: str) -> Begun:
    """Let a pod finish the items in hand, then destroy it."""
    return _act(request, name, PodVerb.DRAIN)


@router.post("/pods/{name}/stop", response=Begun, **needs("pods.change_pod"))
def stop_pod(request: HttpRequest, name: str) -> Begun:
    """Drain a pod, then keep only its disk; 409 if its provider cannot stop machines."""
    return _act(request, name, PodVerb.STOP)


@router.post("/pods/{name}/destroy", response=Begun, **needs("pods.change_pod"))
def destroy_pod(request: HttpRequest, name: str) -> Begun:
    """Destroy a pod at once; other pods get the items in hand."""
    return _act(request, name, PodVerb.DESTROY)


@router.post("/pods/{name}/destroy-again", response=Begun, **needs("pods.change_pod"))
def destroy_pod_again(request: HttpRequest, name: str) -> Begun:
    """Ask the vendor now to destroy a pod that is to end already."""
    return _act(request, name, PodVerb.DESTROY_AGAIN)
