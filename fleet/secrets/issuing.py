"""Keeps short-lived keys for a fleet's pods, so that they never get the long-lived ones.

The secret AWS_ASSUME_ROLE_ARN of a fleet turns this on. The manager then keeps the fleet's AWS keys to
itself: with them it asks STS for keys of that role, and pods get those.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog

from fleet.models import Dataset, DatasetFile, Fleet, IssuedKeys
from fleet.secrets import sts
from fleet.secrets.checking import ROLE, ROLE_SECONDS, STS_ENDPOINT
from fleet.secrets.opening import Unreadable, of_stores
from fleet.secrets.session_policy import policy_of
from pods.agent.dataset import credentials
from pods.agent.ranges import Format
from pods.base import sealing
from pods.base.clock import utcnow

log = structlog.get_logger(__name__)
DEFAULT_SECONDS: Final = 3600
AGAIN_AFTER: Final = timedelta(minutes=1)  # STS failed
USUAL_REGION: Final = "us-east-1"
# What only the manager has.
LONG_LIVED: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
KEPT_HERE: Final = frozenset({*LONG_LIVED, ROLE, ROLE_SECONDS, STS_ENDPOINT})


def is_due(row: IssuedKeys, wish: str, *, now: datetime) -> bool:
    """Whether keys are asked for now: at half of their life, or because others are wanted.

    After a failure it is a minute later.
    """
    if row.failed_at is not None and now - row.failed_at < AGAIN_AFTER and row.failed_wish == wish:
        return False
    if row.issued_at is None or row.expires_at is None or row.wish != wish:
        return True
    return now >= row.issued_at + (row.expires_at - row.issued_at) / 2


def renew_if_due(fleet: Fleet, *, now: datetime | None = None) -> None:
    """Ask STS for the next keys of a fleet if it is time. Each tick calls it before a pod is asked for.

    It may be killed at any line: keys that were issued and not written down end by themselves. If
    STS fails, the present keys stay until they end, and the row says why. It raises nothing of STS.
    """
    row = getattr(fleet, "issued_keys", None)
    if row is None:
        return
    now = now or utcnow()
    try:
        known = credentials.merged(os.environ, of_stores(fleet))
        if ROLE not in known:  # it was removed at this moment
            return
        wish = _wish(fleet, known)
    except (Unreadable, sts.NotIssued) as exc:
        _failed(row, "", str(exc), now)
        return
    name = _digest(wish, known)
    if not is_due(row, name, now=now):
        return
    try:
        keys = sts.assume_role(wish, _signer(known), now=now)
    except sts.NotIssued as exc:
        _failed(row, name, credentials.without_secrets(str(exc), known), now)
        log.warning("keys_not_issued", fleet=fleet.name, because=row.error)
        return
    values = dict(zip(LONG_LIVED, (keys.access_key_id, keys.secret_access_key, keys.session_token),
                      strict=True))  # fmt: skip
    row.sealed_value, row.revision = sealing.seal(json.dumps(values)), uuid4()
    row.issued_at, row.expires_at, row.wish = now, keys.expires_at, name
    row.error, row.failing_since, row.failed_at, row.failed_wish = "", None, None, ""
    row.save()
    log.info("keys_issued", fleet=fleet.name, expires_at=keys.expires_at.isoformat())


def for_pods(row: IssuedKeys) -> Mapping[str, str]:
    """The keys that pods get, also if they have ended. None were issued yet: nothing.

    Raises:
        Unreadable: they were encrypted with a key that is gone; the next tick asks for others.
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


def _failed(row: IssuedKeys, wish: str, why: str, now: datetime) -> None:
    row.error, row.failed_at, row.failed_wish = why[:500], now, wish
    row.failing_since = row.failing_since or now
    row.save(update_fields=["error", "failed_at", "failed_wish", "failing_since"])


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
