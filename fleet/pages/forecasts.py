"""The last forecast of a fleet in sentences, for pages and the terminal."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Final

from django.utils.timezone import localtime

from fleet.decision.outlook import LITTLE
from fleet.models import Fleet, FleetForecast
from pods.base import words
from pods.plural import plural

# What a query of fleets reads for their forecasts.
COLUMNS: Final = tuple(
    f"forecast__{name}"
    for name in (
        "fleet", "at", "because", "depth", "drain_by", "likely_at", "sure_at", "likely_usd",
        "sure_usd", "pods", "pod_hours", "on_time", "money_ends", "left", "held_by",
        "lacks_speed", "days", "replays",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A forecast in sentences; an empty one has nothing to say."""

    at: datetime
    done: str
    cost: str
    promise: str  # the deadline or the budget
    caution: str

    @property
    def text(self) -> str:
        """All of them."""
        return " ".join(filter(None, (self.done, self.cost, self.promise, self.caution)))


def forecast_of(fleet: Fleet, now: datetime) -> FleetForecast | None:
    """The last forecast of a fleet; None: there is none, or it is too old."""
    row: FleetForecast | None = getattr(fleet, "forecast", None)
    return row if row is not None and row.is_fresh(now) else None


def why_none(row: FleetForecast | None, items_per_second: float | None) -> str:
    """Why there is no forecast, as a sentence. "": there is one, or none was tried.

    A pod may have shown its speed since the last try: the next one will make a forecast.
    """
    if row is None or not row.because:
        return ""
    if row.lacks_speed and items_per_second:
        return "No forecast yet."
    return f"No forecast: {row.because}."


def told(row: FleetForecast | None) -> Told | None:
    """The forecast in sentences; times are in the zone of the reader. None: there is none."""
    if row is None or row.because:
        return None
    return Told(
        at=row.at,
        done=_done(row),
        cost=_cost(row),
        promise=_promise(row),
        caution=_caution(row),
    )


def _cost(row: FleetForecast) -> str:
    likely, sure = words.usd(row.likely_usd), words.usd(row.sure_usd)
    if row.likely_at is None:
        left = f", with about {plural(row.left, 'item')} left" if row.left else ""
        return f"Until then about {likely}{left}."
    if row.sure_at is None:
        return f"About {likely} from now on; what it costs at most is not known."
    return f"About {likely} from now on, nine times out of ten at most {sure}."


def _done(row: FleetForecast) -> str:
    if row.likely_at is None:
        return "It is probably not done within the time that the forecast sees."
    likely = _moment(row.likely_at)
    if row.sure_at is None:
        return f"Done about {likely}, but that is far from certain."
    return f"Done about {likely}, nine times out of ten by {_moment(row.sure_at)}."


def _moment(at: datetime) -> str:
    here = localtime(at)
    return f"{here.day} {here:%b %H:%M %Z}"


def _promise(row: FleetForecast) -> str:
    said = []
    if row.on_time is not None and row.drain_by is not None:
        said.append(f"{_percent(row.on_time, row.replays)} to be done by {_moment(row.drain_by)}.")
    if row.money_ends:
        said.append(
            f"{_percent(row.money_ends, row.replays)} that the budget ends before the backlog."
        )
    return " ".join(said)


def _percent(share: float, replays: int) -> str:
    """`88 %`; forty replays know no more than "over 97 %"."""
    least = 100 / max(1, replays)
    if share >= 1:
        return f"Over {int(100 - least)} %"
    return f"Under {ceil(least)} %" if share <= 0 else f"{100 * share:.0f} %"


def _caution(row: FleetForecast) -> str:
    if row.days >= LITTLE:
        return ""
    return "A rough guess: less than two days of the market are recorded."


def as_json(row: FleetForecast | None) -> dict[str, Any] | None:
    """The forecast as JSON values; None: there is none."""
    if row is None:
        return None
    return {
        "at": row.at.isoformat(),
        "because": row.because,
        "depth": row.depth,
        "drain_by": _iso(row.drain_by),
        "likely_at": _iso(row.likely_at),
        "sure_at": _iso(row.sure_at),
        "likely_usd": str(row.likely_usd),
        "sure_usd": str(row.sure_usd),
        "pods": row.pods,
        "pod_hours": round(row.pod_hours, 3),
        "on_time": row.on_time,
        "money_ends": row.money_ends,
        "left": row.left,
        "held_by": row.held_by,
        "days": round(row.days, 2),
        "replays": row.replays,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
