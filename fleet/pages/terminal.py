"""A fleet's status for the terminal."""

from collections.abc import Sequence
from textwrap import shorten

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleet.models import Limits
from fleet.pages import forecasts, words
from fleet.pages.status import FleetStatus, PodStatus
from fleet.stopping import Reach
from pods.base.command_name import how_to_run
from pods.bottleneck import Bottleneck
from pods.machine_names import short_name
from pods.plural import plural

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
LONGEST_NOTE = 200
# Of the list: three lines where a terminal has 80 columns. `fleet show` has the whole text.
WHY_WIDTH, WHY_LINES = 26, 3


def render(status: FleetStatus, *, total: int | None = None) -> RenderableType:
    """The live view; with `total` (items) it has a bar of the share that is done."""
    parts: list[RenderableType] = [_headline(status)]
    if total is not None and status.depth is not None:
        done = max(0, total - status.depth)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=max(1, total), completed=done, width=48),
            f"{done:,} of {total:,}",
            f"ETA {words.time_left(status.eta)}",
        )
        parts.append(line)
    style = "bold red" if status.trouble else "italic"
    parts += [_pods(status), *_notes(status), Text(status.last_decision, style=style)]
    if (foretold := forecasts.told(status.forecast)) is not None:
        parts.append(Text(f"Forecast: {foretold.text}"))
    return Group(*parts)


def line_of(status: FleetStatus) -> str:
    """One reading as a line, for a file or a pipe."""
    shown = words.HEALTH[status.health.health]
    return (
        f"{status.at:%F %T} UTC  {status.name}  {shown.word}: "
        f"{words.printable(status.health.because)}  backlog "
        f"{words.depth(status.depth, estimated=status.depth_estimated)}  "
        f"{words.per_second(status.items_per_second)} items/s  pods {len(status.pods)} of "
        f"{status.max_instances}  {words.usd(status.hourly_usd)}/h"
    )


def list_of(statuses: Sequence[FleetStatus]) -> Table:
    """One line for each fleet."""
    table = Table(box=None)
    for column in ("fleet", "health", "mode", "backlog", "pods", "items/s", "$/h"):
        table.add_column(column)
    table.add_column("why", min_width=WHY_WIDTH)
    for status in statuses:
        table.add_row(
            status.name,
            _health(status),
            status.mode_text,
            words.depth(status.depth, estimated=status.depth_estimated),
            f"{len(status.pods)} of {status.max_instances}",
            words.per_second(status.items_per_second),
            words.usd(status.hourly_usd),
            Text(shorten(_why(status), width=WHY_WIDTH * WHY_LINES, placeholder=" …")),
        )
    return table


def _why(status: FleetStatus) -> str:
    """Why it is not well; why it has this many pods, if it works."""
    return words.printable(status.health.why(status.last_decision))


def stopped_line(limits: Limits) -> str:
    """That everything is stopped, since when and by whom."""
    since = f" since {limits.mode_at:%F %T} UTC" if limits.mode_at else ""
    who = f" by {limits.mode_by}" if limits.mode_by else ""
    return f"everything is stopped{since}{who}; `fleet undo-stop` undoes it"


def stop_text(there: Reach, limits: Limits, *, again: bool) -> str:
    """What stopping everything did, and what it does not end."""
    do = "drains and is" if there.pods == 1 else "drain and are"
    when = " with the next decision" if there.unticked or there.undecided else ""
    pods = f"{plural(there.pods, 'pod')} ({words.usd(there.hourly_usd)}/h) {do} destroyed{when}"
    lines = [f"{stopped_line(limits)}", pods]
    if again:
        lines[0] = f"nothing changed: {lines[0]}"
    if there.unticked:
        lines.append(f"nothing decides on {', '.join(there.unticked)}: its pods stay")
    if there.undecided:
        lines.append(
            f"nothing has decided lately on {', '.join(there.undecided)}: their pods stay until beat "
            f"and the workers run (`{how_to_run('up')}`)"
        )
    if there.orphans:
        lines.append(f"{plural(there.orphans, 'machine')} without a pod stay: see `machines list`")
    return "\n".join(lines)


def _health(status: FleetStatus) -> Text:
    shown = words.HEALTH[status.health.health]
    return Text(f"{shown.icon} {shown.word}", style=shown.style)


def _headline(status: FleetStatus) -> Text:
    rate = words.per_second(status.items_per_second)
    ceiling = "" if status.max_hourly_usd is None else f" of {words.usd(status.max_hourly_usd)}"
    depth = words.depth(status.depth, estimated=status.depth_estimated)
    text = Text()
    text.append(f"{status.name}  ", style="bold")
    text.append(_health(status)).append(f": {words.printable(status.health.because)}\n")
    if status.mode_text != "running":
        text.append(f"{status.mode_text.upper()}  ", style="bold red")
    text.append(f"backlog {depth}   {rate} items/s   ETA {words.time_left(status.eta)}   ")
    text.append(f"pods {len(status.pods)} of {status.max_instances}   ")
    text.append(
        f"{words.usd(status.hourly_usd)}/h{ceiling}   spent {words.usd(status.spent_total_usd)}"
    )
    if status.code_number:
        text.append(f"   code version {status.code_number}")
    if status.use is not None:
        text.append(f"\nready pods are busy {words.percent(status.use.busy_percent)} of the time")
        idle = status.use.bottleneck is Bottleneck.IDLE
        held = "there is nothing to do" if idle else f"held back by {status.use.bottleneck.value}"
        text.append(f", {held}")
    if status.unknown_because:
        text.append(f"\n{status.unknown_because}", style="bold red")
    return text


def _pods(status: FleetStatus) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, header_style="dim")
    table.add_column("pod", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("age", "$/h", "done", "items/s", "in hand", "idle", "busy"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("held by", no_wrap=True)
    for pod in status.pods[:PODS_SHOWN]:
        _add_pod(table, pod)
    if len(status.pods) > PODS_SHOWN:
        table.add_row(f"and {len(status.pods) - PODS_SHOWN} more")
    return table


def _add_pod(table: Table, pod: PodStatus) -> None:
    table.add_row(
        short_name(pod.name, SHORT_NAME),
        Text(pod.state, style=COLOURS.get(pod.state, "")),
        words.duration(pod.age),
        words.usd(pod.hourly_usd),
        f"{pod.done:,}",
        words.per_second(pod.items_per_second),
        words.NONE if pod.in_flight is None else f"{pod.in_flight:,}",
        words.duration(pod.idle_for),
        words.percent(pod.busy_percent),
        words.NONE if pod.busy_percent is None else pod.bottleneck,
    )


def _notes(status: FleetStatus) -> list[Text]:
    """What is wrong with the pods that are shown: a line for each, because a column has no room."""
    said = [pod for pod in status.pods[:PODS_SHOWN] if pod.note]
    return [Text(f"{short_name(pod.name, SHORT_NAME)}: {pod.note[:LONGEST_NOTE]}") for pod in said]
