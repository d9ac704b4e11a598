"""Whether the pods that a fleet may rent can reach its Redis."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from fleet.models import Fleet, RedisRoute
from pods.accounts import connecting, editing
from pods.base import redis_reach
from pods.base.command_name import where_is
from pods.models import Account

WAYS_OUT: Final = (
    "start Podfleet's own public Redis, or give the address of a managed Redis with TLS "
    "(rediss://…), or set the way of rented pods to Redis (redis_route) to tunnel if a tunnel or a VPN "
    f"of yours leads there; {where_is('howto/expose-redis.md')} has all three"
)


def address_of(fleet: Fleet) -> str:
    """The address at which the fleet's pods reach Redis, with its password."""
    return connecting.redis_url_for_pods(fleet.backlog_url if fleet.on_stream else "")


def wrong_with(fleet: Fleet, accounts: Sequence[Account]) -> str:
    """Why pods rented from these accounts cannot use the fleet's Redis; "": they can."""
    rented = _rented(accounts)
    if not rented or fleet.redis_route == RedisRoute.TUNNEL:
        return ""
    address = address_of(fleet)
    why = redis_reach.why_unreachable(address)
    if why is None:
        return ""
    whose = "" if fleet.on_stream and fleet.backlog_url else "the Redis of this installation, "
    said = redis_reach.SAID[why]
    return f"pods rented from {rented[0]} cannot use {whose}{_place(address)}, which {said}"


def refuse_unreachable(fleet: Fleet, accounts: Sequence[Account]) -> None:
    """Refuse a fleet that may rent pods which cannot reach its Redis.

    A fleet that was so before can be edited: an operator must be able to lower its limits.

    Raises:
        ValidationError: with the ways out.
    """
    wrong = wrong_with(fleet, accounts)
    if not wrong:
        return
    before = Fleet.objects.filter(pk=fleet.pk).first()
    if before is not None and wrong_with(before, list(before.accounts.all())):
        same = address_of(before) == address_of(fleet)
        added = set(_rented(accounts)) - set(_rented(list(before.accounts.all())))
        if same and not added:
            return
    raise ValidationError({"backlog_url": f"{wrong}; {WAYS_OUT}"})


def refuse_account(account: Account) -> None:
    """Refuse to switch on an account from which a fleet would rent pods that cannot reach its Redis.

    Raises:
        ValidationError: it names the fleet and the ways out.
    """
    stored = Account.objects.filter(pk=account.pk).first()
    if stored is None or _rented([stored]) or not _rented([account]):
        return
    for fleet in Fleet.objects.filter(accounts=stored, archived_at=None).order_by("name"):
        if wrong := wrong_with(fleet, [account]):
            raise ValidationError({"account": f"the fleet {fleet.name}: {wrong}; {WAYS_OUT}"})


def _rented(accounts: Sequence[Account]) -> list[str]:
    return sorted(a.name for a in accounts if a.enabled and editing.is_rented(a))


def _place(address: str) -> str:
    """The address without user, database and words."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
