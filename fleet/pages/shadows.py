"""A fleet's shadow beside it: its figures, its courses, and where the decisions differed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from fleet.models import Fleet, FleetForecast, Shadow, ShadowTick
from fleet.pages import what_if
from fleet.pages.charts import Charts
from pods.base.clock import utcnow

POINTS: Final = 200
SHOWN: Final = 20  # places where decisions differed
NAMES: Final = ("live", "model", "changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The fleet, the model of it, or the model with the other settings."""

    name: str
    pods: int
    most_pods: int
    pod_hours: float
    done: int | None  # items
    left: int | None
    spent_usd: Decimal
    likely_at: datetime | None = None  # when its backlog is probably done; None: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tick at which the two decided differently, and otherwise than before."""

    at: datetime
    live: str
    shadow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that is shown of a shadow."""

    row: Shadow
    over: bool
    lines: Sequence[Line]  # none: no tick was read yet
    differences: Sequence[Difference]  # the newest first

    def as_json(self) -> dict[str, Any]:
        """The values of `fleet shadow --json` and of the API."""
        row = self.row
        return {
            "fleet": row.fleet.name,
            "settings": row.settings,
            "by": row.by,
            "since": row.since.isoformat(),
            "until": row.until.isoformat(),
            "over": self.over,
            "because": row.because,
            "reached_at": None if row.reached_at is None else row.reached_at.isoformat(),
            "ticks": row.ticks,
            "differed": row.differed,
            "courses": [_as_json(key, one) for key, one in zip(NAMES, self.lines, strict=False)],
            "differences": [
                {"at": one.at.isoformat(), "live": one.live, "shadow": one.shadow}
                for one in self.differences
            ],
        }


def _as_json(key: str, one: Line) -> dict[str, Any]:
    return {
        "course": key, "pods": one.pods, "most_pods": one.most_pods,
        "pod_hours": round(one.pod_hours, 3), "done": one.done, "left": one.left,
        "spent_usd": f"{one.spent_usd:.4f}",
        "likely_at": None if one.likely_at is None else one.likely_at.isoformat(),
    }  # fmt: skip


def told(fleet: Fleet) -> Told | None:
    """The shadow of a fleet; None: it never had one, or it was long ago. Four queries."""
    row = Shadow.objects.filter(fleet=fleet).defer("state").select_related("fleet").first()
    if row is None:
        return None
    now = utcnow()
    moments = ShadowTick.objects.filter(shadow=row)
    last = moments.order_by("-at").first()
    news = moments.filter(news=True).order_by("-at")[:SHOWN]
    return Told(
        row=row,
        over=row.is_over(now),
        lines=[] if last is None else _lines(row, last, now),
        differences=[
            Difference(at=one.at, live=one.live_sentence, shadow=one.sentence) for one in news
        ],
    )


def _lines(row: Shadow, last: ShadowTick, now: datetime) -> list[Line]:
    forecast = FleetForecast.objects.filter(fleet=row.fleet).first()
    fresh = forecast is not None and forecast.is_fresh(now)
    ends = (forecast.likely_at if forecast and fresh else None, None, row.likely_at)
    if row.is_over(now):
        ends = (None, None, None)
    named = ("as it is", "model of it", f"with {row.said}")
    return [
        Line(
            name=name, pods=found["pods"], most_pods=found["most_pods"],
            pod_hours=found["pod_hours"], done=found["done"], left=found["depth"],
            spent_usd=Decimal(found["spent_usd"]), likely_at=likely_at,
        )
        for name, found, likely_at in zip(named, _figures(last), ends, strict=True)
    ]  # fmt: skip


def _figures(moment: ShadowTick) -> tuple[Any, Any, Any]:
    return moment.live, moment.model, moment.changed


def charts(row: Shadow, zone: tzinfo) -> Charts | None:
    """The three courses as drawings; None while there are fewer than two ticks."""
    keys = list(ShadowTick.objects.filter(shadow=row).order_by("at").values_list("pk", flat=True))
    step = -(-len(keys) // POINTS) or 1
    chosen = {*keys[::step], *keys[-1:]}
    moments = sorted(ShadowTick.objects.in_bulk(chosen).values(), key=lambda one: one.at)
    if len(moments) < what_if.LEAST_MOMENTS:
        return None
    points = [
        [
            what_if.Point(
                at=one.at, depth=found["depth"], pods=found["pods"], usd=float(found["spent_usd"])
            )
            for one, found in ((one, _figures(one)[n]) for one in moments)
        ]
        for n in range(len(NAMES))
    ]
    return what_if.drawn(list(zip(("as it is", "model", "shadow"), points, strict=True)), zone)
