"""Builds rows and values; a test names only what it is about."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fleet.decision.values import OfferFacts, PodFacts, Policy, Snapshot
from pods.rules import PodRule
from pods.states import READY, PodState

if TYPE_CHECKING:  # models can be imported only when Django is ready
    from fleet.models import Alert, Batch, Fleet
    from pods.models import Account, Pod

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# The offer of this machine, as a survey stores it.
OFFER = {
    "key": "local",
    "hourly_usd": "0.5",
    "stopped_hourly_usd": "0",
    "remaining": None,
}


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def pod_facts(pod_id: int = 1, state: PodState = READY, **values: Any) -> PodFacts:
    defaults = {"hourly_usd": Decimal("0.5"), "age": hours(1)}
    return PodFacts(pod_id=pod_id, state=state, **{**defaults, **values})


def offer_facts(key: str = "offer", **values: Any) -> OfferFacts:
    return OfferFacts(key=key, **{"account_id": 1, "hourly_usd": Decimal("0.5"), **values})


def snapshot(depth: int | None = 0, **values: Any) -> Snapshot:
    offers = tuple(offer_facts(f"offer-{n}") for n in range(20))
    return Snapshot(**{"now": NOON, "depth": depth, "offers": offers, **values})


def policy(**values: Any) -> Policy:
    return Policy(**{"target_depth_per_pod": 100, "max_instances": 10, **values})


def packed(key: str, usd: str, gpu: str, **values: Any) -> dict[str, Any]:
    """An offer of one GPU, as a survey stores it."""
    offer = {"key": key, "hourly_usd": usd, "gpu_type": gpu, "gpu_count": 1}
    return {**offer, "stopped_hourly_usd": "0", "remaining": None, **values}


def a_fleet(**values: Any) -> "Fleet":
    from fleet.models import Fleet
    from fleet.tick.scheduling import keep_schedule
    from pods.models import Account

    name = values.pop("name", f"fleet-{uuid.uuid4().hex[:8]}")
    tick = values.pop("tick", None)
    accounts = values.pop("accounts", None)
    fleet = Fleet(name=name, **{"handler": "pods.agent.handlers.pace:sleep", **values})
    fleet.full_clean(exclude=["schedule"])
    fleet.save()
    if accounts is None:
        accounts = [an_account()]
    fleet.accounts.set(accounts)
    keep_schedule(fleet, every=tick)
    assert all(isinstance(a, Account) for a in accounts)
    return fleet


# A vendor on this machine, at a port where nobody listens.
NOBODY = "http://127.0.0.1:9"


def an_account(provider: str = "local", **values: Any) -> "Account":
    from pods.base.clock import utcnow
    from pods.models import Account

    name = values.pop("name", f"{provider}-{uuid.uuid4().hex[:8]}")
    if "offers" in values:  # of a survey that has just ended
        values.setdefault("surveyed_at", utcnow())
    if provider in {
        "runpod",
        "vastai",
    }:  # at an emulator, whose machines reach the Redis of the tests
        values.setdefault("options", {"base_url": NOBODY})
    return Account.objects.create(name=name, provider=provider, **values)


def a_pod(fleet: "Fleet | None" = None, state: PodState = READY, **values: Any) -> "Pod":
    """A pod's row in a state, with the event of that state."""
    from fleet.tick.requesting import agent_settings, template_hash
    from pods import lifecycle
    from pods.base.clock import utcnow
    from pods.models import Installation, Pod

    fleet = fleet or a_fleet()
    account: Account | None = values.pop("account", None) or fleet.accounts.first()
    assert account is not None
    token = values.pop("client_token", uuid.uuid4())
    tag = f"{Installation.tag()}-{fleet.pk}"
    now = utcnow()
    known = state not in {PodState.REQUESTED, PodState.CREATING, PodState.FAILED}
    defaults = {
        "external_id": f"machine-{token.hex[:12]}" if known else None,
        "name": f"{tag}-{token.hex}",
        "requested_at": now,
        "asked_at": now if state is not PodState.REQUESTED else None,
        "hourly_usd": Decimal("0.5"),
        "template_hash": template_hash(fleet),
        "agent": agent_settings(fleet),
        "boot_seconds": fleet.boot_seconds,
        "silent_seconds": fleet.silent_seconds,
        "drain_seconds": fleet.drain_seconds,
    }
    pod = Pod(
        fleet=fleet,
        account=account,
        provider=account.provider,
        client_token=token,
        tag=tag,
        state=state.value,
        **{**defaults, **values},
    )
    lifecycle.insert(pod, by="test", rule=PodRule.WANTED, because="made by a test")
    return pod


def an_alert(fleet: "Fleet", **values: Any) -> "Alert":
    """An open alert about a pod."""
    from fleet.models import Alert
    from pods.base.clock import utcnow

    defaults = {"cause": "pod_old", "subject": "pod:1", "severity": "warning"}
    times = {"first_seen_at": utcnow(), "last_seen_at": utcnow()}
    told = {"text": "pod 1 is old", **times}
    return Alert.objects.create(fleet=fleet, **{**defaults, **told, **values})


def a_batch(fleet: "Fleet", **values: Any) -> "Batch":
    """A batch of the OpenAI API that is worked on."""
    from fleet.models import Batch
    from pods.base.clock import utcnow

    defaults = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_key": "file-1"}
    counts = {"status": "in_progress", "total": 20, "completed": 3, "failed": 1}
    times = {
        "claimed_until": utcnow(), "created_at": utcnow(), "expires_at": utcnow() + hours(1),
        "files_kept_seconds": 3600,
    }  # fmt: skip
    return Batch.objects.create(fleet=fleet, **{**defaults, **counts, **times, **values})
