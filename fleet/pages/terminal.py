"""A fleet's status for the terminal."""

from datetime import timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleet.pages.status import FleetStatus, PodStatus

COLOURS = {
    "requested": "cyan",
    "creating": "cyan",
    "booting": "yellow",
    "ready": "green",
    "draining": "magenta",
    "terminating": "red",
    "stopped": "blue",
}
SHORT_NAME = 8
PODS_SHOWN = 20


def duration(value: timedelta | None) -> str:
    """`3 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`; `-` where it is not known."""
    if value is None:
        return "-"
    seconds = max(0, int(value.total_seconds()))
    for size, unit, smaller, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller} {smaller_unit}"
    return f"{seconds} s"


def depth_text(status: FleetStatus) -> str:
    """The depth in words."""
    if status.depth is None:
        return "unknown"
    return f"{'about ' if status.depth_estimated else ''}{status.depth:,}"


def render(status: FleetStatus, *, total: int | None = None) -> RenderableType:
    """The live view; `total` (items) draws a bar of how much is done."""
    parts: list[RenderableType] = [_headline(status)]
    if total is not None and status.depth is not None:
        done = max(0, total - status.depth)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=max(1, total), completed=done, width=48),
            f"{done:,} of {total:,}",
            f"ETA {duration(status.eta)}",
        )
        parts.append(line)
    parts += [_pods(status), Text(status.last_decision, style="italic")]
    return Group(*parts)


def _headline(status: FleetStatus) -> Text:
    rate = "-" if status.items_per_second is None else f"{status.items_per_second:,.1f}"
    ceiling = "" if status.max_hourly_usd is None else f" of ${status.max_hourly_usd}"
    text = Text()
    text.append(f"{status.name}  ", style="bold")
    if status.mode != "running":
        text.append(f"{status.mode.upper()}  ", style="bold red")
    text.append(f"backlog {depth_text(status)}   {rate} items/s   ETA {duration(status.eta)}   ")
    text.append(f"pods {len(status.pods)} of {status.max_instances}   ")
    text.append(f"${status.hourly_usd:.2f}/h{ceiling}   spent ${status.spent_total_usd:.4f}")
    if status.unknown_because:
        text.append(f"\n{status.unknown_because}", style="bold red")
    return text


def _pods(status: FleetStatus) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("pod")
    table.add_column("state")
    for name in ("age", "$/h", "done", "items/s", "in hand", "idle"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for pod in status.pods[:PODS_SHOWN]:
        _add_pod(table, pod)
    if len(status.pods) > PODS_SHOWN:
        table.add_row(f"and {len(status.pods) - PODS_SHOWN} more")
    return table


def _add_pod(table: Table, pod: PodStatus) -> None:
    table.add_row(
        pod.name.rpartition("-")[2][:SHORT_NAME],
        Text(pod.state, style=COLOURS.get(pod.state, "")),
        duration(pod.age),
        f"{pod.hourly_usd:.2f}",
        f"{pod.done:,}",
        "-" if pod.items_per_second is None else f"{pod.items_per_second:.1f}",
        "-" if pod.in_flight is None else f"{pod.in_flight:,}",
        duration(pod.idle_for),
        pod.note[:60],
    )
