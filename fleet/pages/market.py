"""What could be rented when and at which price, as surveys saw it; and what pods did there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, Final

from django.db.models import Q

from pods.base.clock import utcnow
from pods.catalogue import gpus
from pods.models import Account, OfferSpell, Pod, SurveySpell
from pods.rules import TAKEN_RULES
from pods.states import LOST

HOUR: Final = timedelta(hours=1)
DAYS: Final = 7
MOST_DAYS: Final = 30  # as long as the rows are kept
MOST_TYPES: Final = 60  # of an account, on the page
PODS_READ: Final = 5000
PODS_FROM: Final = timedelta(days=30)

Time = tuple[datetime, datetime]  # from, until
Key = tuple[int, str, int, str, bool]  # account, GPU, how many, region, interruptible


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time in which the type could be rented."""

    since: datetime
    until: datetime
    hourly_usd: Decimal
    stands: bool  # it still did at the last reading

    @property
    def lasted(self) -> timedelta:
        """How long it has stood."""
        return self.until - self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferType:
    """A type of offers at an account, and when it could be rented. Times begin where the page does."""

    account_id: int
    gpu: str  # "": no GPU
    gpus: int
    region: str
    interruptible: bool
    spells: Sequence[Spell]
    read_for: timedelta  # how long the account's offers were read in this time

    @property
    def hourly_usd(self) -> Decimal | None:
        """The price now; None: it cannot be rented now."""
        last = self.spells[-1]
        return last.hourly_usd if last.stands else None

    @property
    def lowest_usd(self) -> Decimal:
        """The lowest price of this time."""
        return min(spell.hourly_usd for spell in self.spells)

    @property
    def highest_usd(self) -> Decimal:
        """The highest price of this time."""
        return max(spell.hourly_usd for spell in self.spells)

    @property
    def percent(self) -> float | None:
        """In which share of the time it could be rented, of the time that is known."""
        stood = sum((spell.lasted for spell in self.spells), timedelta(0))
        return min(100.0, 100 * (stood / self.read_for)) if self.read_for else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMarket:
    """An account's market in a stretch of time."""

    account_id: int
    name: str
    partial: str  # why offers may be missing; "": all are read
    read: Sequence[Time]  # when its offers were read without a long break
    types: Sequence[OfferType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """All accounts in a stretch of time."""

    since: datetime
    until: datetime
    accounts: Sequence[AccountMarket]

    def as_json(self) -> dict[str, Any]:
        """The market as JSON values: money as text, durations in seconds."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "accounts": [
                {
                    "account": one.name,
                    "partial": one.partial,
                    "read": [[a.isoformat(), b.isoformat()] for a, b in one.read],
                    "types": [_as_json(each) for each in one.types],
                }
                for one in self.accounts
            ],
        }


def _as_json(each: OfferType) -> dict[str, Any]:
    return {
        "gpu": each.gpu,
        "gpus": each.gpus,
        "region": each.region,
        "interruptible": each.interruptible,
        "hourly_usd": None if each.hourly_usd is None else str(each.hourly_usd),
        "lowest_usd": str(each.lowest_usd),
        "highest_usd": str(each.highest_usd),
        "percent": None if each.percent is None else round(each.percent, 1),
        "spells": [
            {
                "since": spell.since.isoformat(),
                "until": None if spell.stands else spell.until.isoformat(),
                "hourly_usd": str(spell.hourly_usd),
            }
            for spell in each.spells
        ],
    }


def market(*, days: int = DAYS, account: str = "", asked: Sequence[str] = ()) -> Market:
    """The market of the last days: of all accounts or of one, of all GPUs or of these. Three queries."""
    now = utcnow()
    since = now - timedelta(days=min(max(days, 1), MOST_DAYS))
    accounts = Account.objects.filter(name=account) if account else Account.objects.all()
    rows = list(accounts.order_by("name").only("name", "survey_partial"))
    read = _read(rows, since)
    spells = _spells(rows, since, read, asked)
    return Market(
        since=since,
        until=now,
        accounts=[
            AccountMarket(
                account_id=row.pk,
                name=row.name,
                partial=row.survey_partial,
                read=read[row.pk],
                types=_types(row.pk, spells, read[row.pk]),
            )
            for row in rows
        ],
    )


def _read(accounts: Iterable[Account], since: datetime) -> Mapping[int, list[Time]]:
    found: dict[int, list[Time]] = defaultdict(list)
    rows = SurveySpell.objects.filter(account__in=accounts, until__gt=since).order_by("since")
    for account_id, began, until in rows.values_list("account_id", "since", "until"):
        found[account_id].append((max(began, since), until))
    return found


def _spells(
    accounts: Iterable[Account],
    since: datetime,
    read: Mapping[int, Sequence[Time]],
    asked: Sequence[str],
) -> Mapping[Key, list[Spell]]:
    found: dict[Key, list[Spell]] = defaultdict(list)
    lasting = Q(until=None) | Q(until__gt=since)
    rows = OfferSpell.objects.filter(lasting, account__in=accounts).order_by("since")
    for row in rows:
        last = read[row.account_id][-1][1] if read[row.account_id] else row.since
        until = max(row.since, last) if row.until is None else row.until
        if until <= since or (asked and not any(gpus.means(w, row.gpu_type, None) for w in asked)):
            continue
        key = (row.account_id, row.gpu_type, row.gpu_count, row.region, row.interruptible)
        spell = Spell(
            since=max(row.since, since),
            until=until,
            hourly_usd=row.hourly_usd,
            stands=row.until is None,
        )
        found[key].append(spell)
    return found


def _types(
    account_id: int, spells: Mapping[Key, Sequence[Spell]], read: Sequence[Time]
) -> Sequence[OfferType]:
    """What can be rented now first, then the cheapest."""
    read_for = sum((until - began for began, until in read), timedelta(0))
    types = [
        OfferType(
            account_id=account_id, gpu=key[1], gpus=key[2], region=key[3], interruptible=key[4],
            spells=found, read_for=read_for,
        )
        for key, found in spells.items()
        if key[0] == account_id
    ]  # fmt: skip
    types.sort(
        key=lambda t: (
            t.hourly_usd is None, t.lowest_usd, t.gpu, t.gpus, t.region, t.interruptible,
        )
    )  # fmt: skip
    return types


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """What the pods of one GPU type did lately, of all fleets."""

    gpu: str
    gpus: int
    interruptible: bool
    pods: int  # that got a machine
    boot: timedelta | None  # the median, from the request until the agent was ready
    longest_boot: timedelta | None
    lost: int  # of the interruptible ones: taken away by the vendor
    hours: float
    speeds: Mapping[str, float]  # items/s of a pod, the median by fleet

    @property
    def lost_in_100_hours(self) -> float | None:
        """How many of 100 pods would be taken away in an hour; None: they are not interruptible."""
        return 100 * self.lost / self.hours if self.interruptible and self.hours else None

    def as_json(self) -> dict[str, Any]:
        """The lives as JSON values."""
        lost = self.lost_in_100_hours
        return {
            "gpu": self.gpu,
            "gpus": self.gpus,
            "interruptible": self.interruptible,
            "pods": self.pods,
            "hours": round(self.hours, 2),
            "boot_seconds": None if self.boot is None else self.boot.total_seconds(),
            "longest_boot_seconds": None
            if self.longest_boot is None
            else self.longest_boot.total_seconds(),
            "lost": self.lost,
            "lost_in_100_hours": None if lost is None else round(lost, 2),
            "items_per_second": {name: round(rate, 2) for name, rate in self.speeds.items()},
        }


@dataclass(slots=True)
class _Sums:
    pods: int = 0
    boots: list[timedelta] = field(default_factory=list)
    lost: int = 0
    hours: float = 0.0
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def lives(now: datetime | None = None) -> Sequence[Lives]:
    """What the newest pods of the last 30 days did, by GPU type. One query."""
    now = now or utcnow()
    rows = (
        Pod.objects.filter(requested_at__gt=now - PODS_FROM, booted_at__isnull=False)
        .order_by("-requested_at")
        .values_list(
            "gpu_type", "gpu_count", "interruptible", "booted_at", "ended_at", "ready_at", "asked_at",
            "requested_at", "state", "retire_rule", "rate", "done", "fleet__name",
        )[:PODS_READ]
    )  # fmt: skip
    sums: dict[tuple[str, int, bool], _Sums] = defaultdict(_Sums)
    for (
        gpu,
        count,
        spot,
        booted,
        ended,
        ready,
        asked,
        requested,
        state,
        rule,
        rate,
        done,
        fleet,
    ) in rows:
        one = sums[gpus.named(gpu), count, spot]
        one.pods += 1
        one.hours += max(timedelta(0), (ended or now) - (booted or now)) / HOUR
        one.lost += ended is not None and (state == LOST.value or rule in TAKEN_RULES)
        if ready is not None:
            one.boots.append(ready - (asked or requested))
        if rate and done:
            one.rates[fleet].append(rate)
    return [_lives(key, sums[key]) for key in sorted(sums)]


def _lives(key: tuple[str, int, bool], one: _Sums) -> Lives:
    boots = sorted(one.boots)
    return Lives(
        gpu=key[0],
        gpus=key[1],
        interruptible=key[2],
        pods=one.pods,
        boot=boots[len(boots) // 2] if boots else None,
        longest_boot=boots[-1] if boots else None,
        lost=one.lost,
        hours=one.hours,
        speeds={name: median(rates) for name, rates in sorted(one.rates.items())},
    )
