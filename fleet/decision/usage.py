"""How much the pods of a fleet work, what holds them back, and what would help. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean, median
from typing import Final

from fleet.decision.field_words import LABELS
from fleet.decision.values import PodFacts, Policy, Snapshot
from pods.bottleneck import Bottleneck
from pods.plural import plural

# The shares of a heartbeat are over this time. Of a pod that is ready for less, and while items have
# waited for less, they say nothing yet.
WINDOW: Final = timedelta(seconds=30)
# What a further pod would wait for too, in the order in which it is named.
SHARED: Final = {Bottleneck.LINK: "the link to Redis", Bottleneck.FEED: "items from Redis"}
# Below this round trip it is not the distance that holds a pod back, but the number of bytes.
FAR_MS: Final = 20.0
HELP: Final = "docs/howto/use-pods-well.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much the ready pods of a fleet work."""

    pods: int  # those of which it is known
    busy_percent: float  # the median of the shares of time in which their handlers worked
    bottleneck: Bottleneck  # what holds most of them back
    gpu_percent: float | None  # the mean of their GPUs; None: nobody knows


def measured(seen: Snapshot) -> Sequence[PodFacts]:
    """The ready pods whose shares are known, and cover a window in which they were ready."""
    return [
        p
        for p in seen.ready
        if p.busy is not None and p.ready_for is not None and p.ready_for >= WINDOW
    ]


def use_of(seen: Snapshot) -> Use | None:
    """How much the ready pods work; None if that is known of none of them."""
    known = measured(seen)
    if not known:
        return None
    gpus = [p.gpu_percent for p in known if p.gpu_percent is not None]
    return Use(
        pods=len(known),
        busy_percent=100 * _busy(known),
        bottleneck=_most_common(p.bottleneck for p in known),
        gpu_percent=fmean(gpus) if gpus else None,
    )


def why_under_used(seen: Snapshot, policy: Policy) -> str:
    """What holds back pods that work less than the fleet's least share, for people; "": nothing.

    It counts only while items have waited for a whole window, and only if most of these pods wait for
    what a further pod would wait for too: the link to Redis or the feed of items.
    """
    known, least = measured(seen), policy.min_busy_percent / 100
    waited = seen.waiting_for is not None and seen.waiting_for >= WINDOW
    if not known or not waited or _busy(known) >= least:
        return ""
    below = [p for p in known if _share(p) < least]
    held = [p for p in below if p.bottleneck in SHARED]
    if 2 * len(held) <= len(below):
        return ""
    many = len(known) > 1
    pods = f"{plural(len(known), 'pod')} {'are' if many else 'is'}"
    wait = f"{'they wait' if many else 'it waits'} for {_what(held)}"
    return f"{pods} busy {int(100 * _busy(known))} % of the time: {wait}; {_advice(held, policy)}"


def _share(pod: PodFacts) -> float:
    return pod.busy or 0.0


def _busy(pods: Sequence[PodFacts]) -> float:
    return median(_share(p) for p in pods)


def _most_common(words: Iterable[Bottleneck]) -> Bottleneck:
    """The most common one; of equally common ones the first of the enum."""
    counts, order = Counter(words), list(Bottleneck)
    return max(order, key=lambda word: (counts[word], -order.index(word)))


def _what(held: Sequence[PodFacts]) -> str:
    """What these pods wait for, with the round trip if it is known."""
    cause, rtt_ms = _most_common(p.bottleneck for p in held), _rtt_ms(held)
    return SHARED[cause] + ("" if rtt_ms is None else f", round trip {rtt_ms:.0f} ms")


def _rtt_ms(pods: Sequence[PodFacts]) -> float | None:
    known = [p.rtt / timedelta(milliseconds=1) for p in pods if p.rtt is not None]
    return median(known) if known else None


def _advice(held: Sequence[PodFacts], policy: Policy) -> str:
    """What an operator can change, as far as the cause, the round trip and the batches tell."""
    rtt_ms = _rtt_ms(held)
    if _most_common(p.bottleneck for p in held) is Bottleneck.FEED:
        return f"fill the stream faster, or make items smaller ({HELP})"
    capped = any(p.batch is None or p.batch >= policy.batch_size for p in held)
    tips = [f"raise {LABELS['batch_size']} ({policy.batch_size})"] if capped else []
    if rtt_ms is None or rtt_ms >= FAR_MS:
        tips.append("bring Redis nearer to the pods")
    if rtt_ms is None or rtt_ms < FAR_MS:
        tips.append("make items and results smaller")
    return f"{', or '.join(tips)} ({HELP})"
