"""How many items a batch should have, so that the handler finishes it in the wanted time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# How much the newest batch of a size counts.
NEW_SHARE = 0.3
# Times of the neighbouring sizes are forgotten, because a first batch that compiled something must
# not count for ever. They are forgotten slowly, because each try of a bad size costs a batch.
FORGET_LARGER, FORGET_SMALLER = 0.02, 0.01
# Half a batch takes half as long where the items cost time, and as long where the call does. A smaller
# batch must save this share of what it would save in the first case. Else it costs more than it helps.
WORTH_SAVING = 0.5


@dataclass(frozen=True)
class Sizing:
    """The size of the next batches, and how long batches of each size took."""

    most: int
    target_seconds: float
    halvings: int = 0
    seconds: Mapping[int, float] = field(default_factory=dict)  # by halvings

    @property
    def size(self) -> int:
        """Items in a batch."""
        return self._at(self.halvings)

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
        known[now] = took = _towards(known.get(now, seconds), seconds, NEW_SHARE)
        for other, share in ((now - 1, FORGET_LARGER), (now + 1, FORGET_SMALLER)):
            if other in known:
                known[other] = _towards(known[other], self._likely(other, took), share)
        return replace(self, halvings=self._next(known), seconds=known)

    def _next(self, known: Mapping[int, float]) -> int:
        now = self.halvings
        took = known[now]
        larger = known.get(now - 1, self._likely(now - 1, took))
        smaller = known.get(now + 1, self._likely(now + 1, took))
        if now and (larger <= self.target_seconds or not self._pays(now, took, larger)):
            return now - 1
        too_long = took > self.target_seconds and self.size > 1
        return now + 1 if too_long and self._pays(now + 1, smaller, took) else now

    def _pays(self, halvings: int, seconds: float, larger: float) -> bool:
        """Whether batches of this size are quick enough, compared with the next larger size."""
        ratio = self._at(halvings) / self._at(halvings - 1)
        return seconds <= larger * (1 - WORTH_SAVING * (1 - ratio))

    def _likely(self, halvings: int, took: float) -> float:
        """How long a batch of a neighbouring size takes, if the items cost the time."""
        return took * self._at(halvings) / self.size

    def _at(self, halvings: int) -> int:
        return max(1, self.most >> max(0, halvings))


def _towards(old: float, new: float, share: float) -> float:
    return old + share * (new - old)
