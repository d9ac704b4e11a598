"""How many items a batch should have: few where that costs nothing, many where a call has many."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# A batch of this time keeps no item from another pod for long, so that shorter ones are made larger in
# any case. A longer one is made larger only if it then finishes more items in a second, by this factor.
SHORT_SECONDS = 0.25
WORTH_GROWING = 1.05
# How much the newest batch of a size counts, after the first one.
NEW_SHARE = 0.3
# Times of the neighbouring sizes are forgotten, because a first batch that compiled something must
# not count for ever. They are forgotten slowly, because each try of a bad size costs a batch. A larger
# size that was slower than its items explain is forgotten until it is as slow as they explain, and any
# other until it would take no longer than the present one. So it is tried again after a while.
FORGET_SLOWER, FORGET_LARGER, FORGET_SMALLER = 0.02, 0.002, 0.01
# Half a batch takes half as long where the items cost time, and as long where the call does. A batch
# that takes too long is made smaller if that saves this share of what it would save in the first case.
WORTH_SAVING = 0.5


@dataclass(frozen=True, slots=True)
class Sizing:
    """The size of the next batches, and how long batches of each size took. It begins with one item."""

    most: int
    target_seconds: float
    longest_seconds: float = float("inf")  # no size is tried that may take longer
    short_seconds: float = SHORT_SECONDS  # so short batches are made larger in any case
    halvings: int = -1
    moved: bool = True  # no batch of this size was measured since it became the present one
    seconds: Mapping[int, float] = field(default_factory=dict)  # by halvings

    def __post_init__(self) -> None:
        if self.halvings < 0:
            object.__setattr__(self, "halvings", self.most.bit_length() - 1)

    @property
    def size(self) -> int:
        """Items in a batch."""
        return self._at(self.halvings)

    @property
    def batch_seconds(self) -> float | None:
        """How long a batch of this size takes. None: nothing was measured yet."""
        now = self.halvings
        if now in self.seconds:
            return self.seconds[now]
        near = next((n for n in (now + 1, now - 1) if n in self.seconds), None)
        return None if near is None else self.seconds[near] * self.size / self._at(near)

    def after(self, items: int, seconds: float) -> "Sizing":
        """The sizing after a batch of `items` took `seconds`.

        A batch that is not full only counts if it took too long already. A batch that is larger
        was on its way when the size changed, and does not count.
        """
        full = items == self.size or (items < self.size and seconds > self.target_seconds)
        if not full:
            return self
        now = self.halvings
        known = dict(self.seconds)
        known[now] = took = _towards(
            known.get(now, seconds), seconds, 1.0 if self.moved else NEW_SHARE
        )
        self._forget(known, took)
        halvings = self._next(known)
        return replace(self, halvings=halvings, moved=halvings != now, seconds=known)

    def _forget(self, known: dict[int, float], took: float) -> None:
        larger, smaller = self.halvings - 1, self.halvings + 1
        if larger in known:
            linear = self._likely(larger, took)
            slower = known[larger] > linear * 1.01
            end, share = (linear, FORGET_SLOWER) if slower else (took, FORGET_LARGER)
            known[larger] = _towards(known[larger], end, share)
        if smaller in known:
            known[smaller] = _towards(known[smaller], self._likely(smaller, took), FORGET_SMALLER)

    def _next(self, known: Mapping[int, float]) -> int:
        now = self.halvings
        if self.size > 1 and self._smaller_is_better(known):
            return now + 1
        return now - 1 if now and self._larger_is_better(known) else now

    def _larger_is_better(self, known: Mapping[int, float]) -> bool:
        now, took = self.halvings, known[self.halvings]
        larger = now - 1
        if larger not in known:  # to try it costs one batch
            return self._likely(larger, took) <= self.longest_seconds
        seconds = known[larger]
        if seconds <= self._short:
            return True
        if seconds > self.target_seconds:
            return not self._pays(now, took, seconds)
        return self._at(larger) / seconds >= WORTH_GROWING * self.size / took

    def _smaller_is_better(self, known: Mapping[int, float]) -> bool:
        now, took = self.halvings, known[self.halvings]
        seconds = known.get(now + 1, self._likely(now + 1, took))
        if took > self.target_seconds and self._pays(now + 1, seconds, took):
            return True
        return took > self._short and self.size / took < WORTH_GROWING * self._at(now + 1) / seconds

    def _pays(self, halvings: int, seconds: float, larger: float) -> bool:
        """Whether batches of this size are quick enough, compared with the next larger size."""
        ratio = self._at(halvings) / self._at(halvings - 1)
        return seconds <= larger * (1 - WORTH_SAVING * (1 - ratio))

    @property
    def _short(self) -> float:
        return min(self.short_seconds, self.target_seconds)

    def _likely(self, halvings: int, took: float) -> float:
        """How long a batch of a neighbouring size takes, if the items cost the time."""
        return took * self._at(halvings) / self.size

    def _at(self, halvings: int) -> int:
        return max(1, self.most >> max(0, halvings))


def _towards(old: float, new: float, share: float) -> float:
    return old + share * (new - old)
