"""What surveys recorded of the offers that a fleet can rent, for its forecast."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from fleet.decision import placement
from fleet.decision.placement import Experience
from fleet.decision.spells import WEEK, History, OfferKind, Stretch, kind_of, stretch_of
from fleet.decision.values import OfferFacts, Wanted
from pods.catalogue import gpus
from pods.models import Account, OfferSpell, SurveySpell
from pods.price import usd_per_million

HOUR: Final = timedelta(hours=1)
DAY_HOURS: Final = 24
# Of the offers that stood lately and do not stand now, the cheapest count.
MOST_ABSENT: Final = 4

Hours = tuple[float, float]  # from, until, since the beginning of the time that is read


def history_of(
    accounts: Collection[Account],
    offers: Sequence[OfferFacts],
    wish: Wanted,
    known: Experience,
    now: datetime,
) -> History:
    """The last week of these offers, and of others that fit and do not stand now. Two queries."""
    since = now - timedelta(days=WEEK)
    read = _read(accounts, since)
    rows = list(
        OfferSpell.objects.filter(
            Q(until=None) | Q(until__gt=since), account__in=accounts
        ).order_by("since")
    )
    times: dict[OfferKind, list[Hours]] = defaultdict(list)
    last: dict[OfferKind, OfferSpell] = {}
    for row in rows:
        kind = OfferKind(row.account_id, row.gpu_type, row.gpu_count, row.region, row.interruptible)
        times[kind].append(((row.since - since) / HOUR, ((row.until or now) - since) / HOUR))
        last[kind] = row
    there = {kind_of(offer) for offer in offers}
    gone = [_absent(row, known) for kind, row in last.items() if kind not in there and row.until]
    absent = [w.offer for w in placement.weigh(gone, wish, known) if not w.refused][:MOST_ABSENT]
    return History(
        days=_days(read),
        stretches={
            kind: _stretches(times[kind], read.get(kind.account_id, ()))
            for kind in (*there, *map(kind_of, absent))
            if kind in times
        },
        absent=absent,
    )


def _read(accounts: Collection[Account], since: datetime) -> Mapping[int, Sequence[Hours]]:
    """When the offers of each account were read."""
    found: dict[int, list[Hours]] = defaultdict(list)
    rows = SurveySpell.objects.filter(account__in=accounts, until__gt=since).order_by("since")
    for account_id, began, until in rows.values_list("account_id", "since", "until"):
        found[account_id].append(((max(began, since) - since) / HOUR, (until - since) / HOUR))
    return found


def _days(read: Mapping[int, Sequence[Hours]]) -> float:
    """For how long the account was read that was read for the shortest time."""
    hours = [sum(until - began for began, until in times) for times in read.values()]
    return min(WEEK, min(hours, default=0.0) / DAY_HOURS)


def _stretches(times: Sequence[Hours], read: Sequence[Hours]) -> Sequence[Stretch]:
    found = [stretch_of(times, since=began, until=until) for began, until in read]
    return [stretch for stretch in found if stretch]


def _absent(row: OfferSpell, known: Experience) -> OfferFacts:
    """An offer that stood before, at its last price."""
    return OfferFacts(
        account_id=row.account_id,
        key=f"recorded:{row.pk}",
        hourly_usd=row.hourly_usd,
        gpu_type=row.gpu_type,
        gpu_count=row.gpu_count,
        vram_gb=gpus.memory_gb(row.gpu_type),
        region=row.region,
        interruptible=row.interruptible,
        million_items_usd=usd_per_million(
            row.hourly_usd, known.speed((row.gpu_type, row.gpu_count))
        ),
    )
