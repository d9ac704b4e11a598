"""Where a pod's time goes and what holds it back, as its page shows it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pods.base import words
from pods.bottleneck import Bottleneck
from pods.models import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One value that an agent measured."""

    name: str
    text: str
    percent: float | None = None  # a part of a whole has a bar


HELD_BY: Final[Mapping[Bottleneck, str]] = {
    Bottleneck.HANDLER: "Its handler works or loads all the time.",
    Bottleneck.FEED: "Items wait in the backlog, but none is on its way to this pod.",
    Bottleneck.LINK: "Its handler waits for round trips to Redis.",
    Bottleneck.MEMORY: "It holds as many bytes of items as it may, so it reads no more.",
    Bottleneck.IDLE: "There is nothing to do.",
    Bottleneck.FAILING: "Its last tries all failed.",
    Bottleneck.UNKNOWN: "Its agent does not say where its time goes, or the backlog is not known.",
}
SHARES: Final = {
    "busy": "handler works",
    "starved": "waits for items",
    "link": "waits for the link",
    "starting": "handler loads",
}
PERCENTAGES: Final = {
    "gpu_percent": "GPU busy",
    "gpu_memory_percent": "GPU memory",
    "cpu_percent": "CPU busy",
}
OTHERS: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "rtt_ms": ("round trip to Redis", lambda value: f"{value:,.0f} ms"),
    "batch": ("items in a batch", lambda value: f"{value:,.0f}"),
    "held_bytes": ("most bytes in hand", words.size),
    "gpu_watts": ("GPU power", lambda value: f"{value:,.0f} W"),
}


def held_by(pod: Pod) -> str:
    """What held the pod back at the last tick, in a sentence."""
    return HELD_BY[Bottleneck(pod.bottleneck)]


def measures(pod: Pod) -> Sequence[Measure]:
    """What the pod's agent measured, as far as it is known: parts of the time and of the machine."""
    known: Mapping[str, float] = pod.measures
    parts = {name: 100 * known[name] for name in SHARES if name in known}
    parts |= {name: known[name] for name in PERCENTAGES if name in known}
    named = {**SHARES, **PERCENTAGES}
    return [
        *(Measure(name=named[n], text=words.percent(p), percent=p) for n, p in parts.items()),
        *(
            Measure(name=n, text=as_text(known[k]))
            for k, (n, as_text) in OTHERS.items()
            if k in known
        ),
    ]
