"""Keeps short-lived keys for a fleet's pods, so that they never get the long-lived ones.

The secret AWS_ASSUME_ROLE_ARN of a fleet turns this on. The manager then keeps the fleet's AWS keys to
itself: with them it asks STS for keys of that role, and pods get those.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from django.db.models import DateTimeField, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from fleet.models import Dataset, DatasetFile, Fleet, IssuedKeys
from fleet.secrets import sts
from fleet.secrets.checking import ROLE, ROLE_SECONDS, STS_ENDPOINT
from fleet.secrets.opening import Unreadable, of_stores
from fleet.secrets.session_policy import policy_of
from pods.agent.dataset import credentials
from pods.agent.ranges import Format
from pods.base import sealing
from pods.base.clock import utcnow
from pods.base.shared_clock import shared_now

log = structlog.get_logger(__name__)
DEFAULT_SECONDS: Final = 3600
# STS failed. Less than the minute between two runs, so that each run asks again.
AGAIN_AFTER: Final = timedelta(seconds=45)
# Longer than the hard time limit of the task: who asked and wrote no answer down is dead by then.
LEASE: Final = timedelta(seconds=75)
USUAL_REGION: Final = "us-east-1"
# What only the manager has.
LONG_LIVED: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
KEPT_HERE: Final = frozenset({*LONG_LIVED, ROLE, ROLE_SECONDS, STS_ENDPOINT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for one fleet, by whoever holds its claim."""

    row_id: int
    fleet: str  # its name
    wish: sts.Wish
    name: str  # of the wish
    at: datetime  # the claim, by the shared clock
    known: Mapping[str, str] = field(repr=False)  # the long-lived keys among others


def is_due(row: IssuedKeys, wish: str, *, now: datetime) -> bool:
    """Whether keys are asked for now: at half of their life, or because others are wanted.

    After a failure it is AGAIN_AFTER later.
    """
    if row.failed_at is not None and now - row.failed_at < AGAIN_AFTER and row.failed_wish == wish:
        return False
    if row.issued_at is None or row.expires_at is None or row.wish != wish:
        return True
    return now >= row.issued_at + (row.expires_at - row.issued_at) / 2


def renew_if_due(fleet: Fleet) -> None:
    """Ask STS for the next keys of a fleet if it is time; at most about `sts.LONGEST_SECONDS`.

    It may be killed at any line: keys that were issued and not written down end by themselves, and
    after LEASE others are asked for. If STS fails, the present keys stay until they end, and the row
    says why. It raises nothing of STS.
    """
    request = claimed(fleet)
    if request is not None:
        record(request, asked(request))


def claimed(fleet: Fleet) -> Request | None:
    """What to ask for a fleet, if it is time and nobody else asks for it. It makes no call.

    Give the answer to `record`, which also ends the claim. Whoever asks for something else (the role
    was changed) does not wait for the claim, and its answer alone counts.
    """
    row = IssuedKeys.objects.filter(fleet=fleet).first()
    if row is None:
        return None
    now = shared_now()
    try:
        known = credentials.merged(os.environ, of_stores(fleet))
        if ROLE not in known:  # it was removed at this moment
            return None
        wish = _wish(fleet, known)
    except (Unreadable, sts.NotIssued) as exc:
        _failed(IssuedKeys.objects.filter(pk=row.pk), "", str(exc), now)
        return None
    name = _digest(wish, known)
    if not is_due(row, name, now=now):
        return None
    free = Q(asked_at=None) | Q(asked_at__lt=now - LEASE) | ~Q(asked_wish=name)
    # an answer that came since the row was read is enough
    same = {"pk": row.pk, "revision": row.revision, "failed_at": row.failed_at}
    if not IssuedKeys.objects.filter(free, **same).update(asked_at=now, asked_wish=name):
        return None
    return Request(row_id=row.pk, fleet=fleet.name, wish=wish, name=name, at=now, known=known)


def asked(request: Request) -> sts.Keys | sts.NotIssued:
    """The answer of STS. It reads and writes no row, so threads may call it."""
    try:
        return sts.assume_role(request.wish, _signer(request.known), now=utcnow())
    except sts.NotIssued as exc:
        return exc
    except Exception as exc:  # the row says it, so the other fleets have their turn
        log.exception("keys_not_asked_for", fleet=request.fleet)
        return sts.NotIssued(f"asking failed: {type(exc).__name__}")


def record(request: Request, answer: sts.Keys | sts.NotIssued) -> bool:
    """Write down what STS answered, unless others were asked for meanwhile. Whether keys were kept."""
    mine = IssuedKeys.objects.filter(
        pk=request.row_id, asked_at=request.at, asked_wish=request.name
    )
    if isinstance(answer, sts.NotIssued):
        why = credentials.without_secrets(str(answer), request.known)
        if _failed(mine, request.name, why, request.at):
            log.warning("keys_not_issued", fleet=request.fleet, because=why)
        return False
    values = dict(zip(LONG_LIVED, (answer.access_key_id, answer.secret_access_key,
                                   answer.session_token), strict=True))  # fmt: skip
    kept = mine.update(
        sealed_value=sealing.seal(json.dumps(values)), revision=uuid4(), wish=request.name,
        issued_at=request.at, expires_at=answer.expires_at, asked_at=None, asked_wish="",
        error="", failing_since=None, failed_at=None, failed_wish="",
    )  # fmt: skip
    if kept:
        log.info("keys_issued", fleet=request.fleet, expires_at=answer.expires_at.isoformat())
    return bool(kept)


def for_pods(row: IssuedKeys) -> Mapping[str, str]:
    """The keys that pods get, also if they have ended. None were issued yet: nothing.

    Raises:
        Unreadable: they were encrypted with a key that is gone; the next run asks for others.
    """
    if not row.sealed_value:
        return {}
    try:
        values: dict[str, str] = json.loads(sealing.unseal(row.sealed_value))
    except sealing.WrongKey as exc:
        IssuedKeys.objects.filter(pk=row.pk).update(issued_at=None)
        raise Unreadable(
            "the issued keys were encrypted with another key; new ones follow"
        ) from exc
    return values


def _failed(rows: QuerySet[IssuedKeys], wish: str, why: str, at: datetime) -> bool:
    """Write down a failure and end the claim; whether the row was still there and ours."""
    return bool(
        rows.update(
            error=why[:500], failed_at=at, failed_wish=wish, asked_at=None, asked_wish="",
            failing_since=Coalesce("failing_since", Value(at, output_field=DateTimeField())),
        )
    )  # fmt: skip


def _signer(known: Mapping[str, str]) -> sts.Signer:
    return sts.Signer(
        access_key_id=known["AWS_ACCESS_KEY_ID"],
        secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        session_token=known.get("AWS_SESSION_TOKEN", ""),
    )


def _wish(fleet: Fleet, known: Mapping[str, str]) -> sts.Wish:
    """What is asked for.

    Raises:
        sts.NotIssued: the manager has no keys to ask with.
    """
    if not all(known.get(name) for name in LONG_LIVED[:2]):
        raise sts.NotIssued(
            "the manager has no keys to ask STS with; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            f"with `fleet secret set {fleet.name}`"
        )
    return sts.Wish(
        role_arn=known[ROLE],
        session_name=f"podfleet-{fleet.name}"[:64],
        seconds=int(known.get(ROLE_SECONDS) or DEFAULT_SECONDS),
        region=known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or USUAL_REGION,
        endpoint=known.get(STS_ENDPOINT, ""),
        policy=_policy(fleet, known[ROLE]),
    )


def _policy(fleet: Fleet, role_arn: str) -> str:
    """What the pods of a dataset need. Of another fleet nobody knows: the role alone decides."""
    dataset = Dataset.objects.filter(fleet=fleet).first()
    if dataset is None:
        return ""
    files = DatasetFile.objects.filter(dataset=dataset)
    partition = role_arn.split(":")[1]
    return policy_of(
        dataset.sink,
        files.values_list("url", flat=True).iterator(),
        all_reads=files.filter(format=Format.OBJECTS).exists(),
        partition=partition if partition.startswith("aws") else "aws",
    )


def _digest(wish: sts.Wish, known: Mapping[str, str]) -> str:
    """A name for what is asked for and who asks. It says nothing about the keys."""
    parts: list[Any] = [wish.role_arn, wish.seconds, wish.region, wish.endpoint, wish.policy]
    parts += [known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
