"""Finds and calls a handler of any form. A bad item does not harm the others of its batch."""

import asyncio
import importlib
import inspect
import json
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from pods.agent import gpu_memory
from pods.agent.fitting import Fitting
from pods.agent.forming import CALLS_AHEAD, Limits, formed
from pods.agent.handlers import BadItem, Item, MissingField, Result
from pods.agent.masking import hidden

# The server's default limit for one value is 512 MB. A commit has the result once.
LARGEST_RESULT_BYTES = 256 * 1024 * 1024
LONGEST_ERROR = 2_000
LONGEST_TRACEBACK = 16_000


class HandlerNotFound(Exception):
    """The handler's name does not lead to something that can be called."""


class TooLarge(Exception):
    """A call with several items did not fit into the GPU's memory."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an item has no result."""

    error: str
    traceback: str = ""
    final: bool = False  # another try cannot help

    def __post_init__(self) -> None:
        """Take secrets out of the texts, which go to Redis and into files."""
        object.__setattr__(self, "error", hidden(self.error))
        object.__setattr__(self, "traceback", hidden(self.traceback))

    @classmethod
    def of(cls, exc: BaseException) -> "Failed":
        """The failure that an exception describes, cut to a length that fits into a stream."""
        # first without secrets: a cut could leave the beginning of one
        lines = hidden("".join(traceback.format_exception(type(exc), exc, exc.__traceback__)))
        message = hidden(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__)
        final = isinstance(exc, (MissingField, BadItem))
        return cls(message[:LONGEST_ERROR], lines[-LONGEST_TRACEBACK:], final)


Outcome = Union[bytes, Failed]  # what is stored, or why there is nothing to store
Call = Callable[[Sequence[Item]], Sequence[Result]]


def find(name: str) -> Any:
    """The handler with the name `package.module:name`. Of a class, an object is made.

    Raises:
        HandlerNotFound: it does not exist, or it cannot be called.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise HandlerNotFound(f"{name!r} is not package.module:function")
    target: Any = importlib.import_module(module)
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise HandlerNotFound(f"{module} has no {attribute}")
        target = getattr(target, part)
    if inspect.isclass(target):
        target = target()
    if not callable(target):
        raise HandlerNotFound(f"{name} is a {type(target).__name__} and cannot be called")
    return target


class Caller:
    """Calls one handler of any form with batches, and closes it at the end.

    `keep` makes what is kept of a result. `most_items`: the most in one call; 0: as the handler says.
    """

    def __init__(
        self,
        handler: Any,
        keep: "Callable[[Result], Outcome] | None" = None,
        *,
        most_items: int = 0,
    ) -> None:
        self._handler, self._keep = handler, keep or outcome
        self._loop = asyncio.new_event_loop()
        self._most_items = most_items
        self._fits = Fitting()  # smaller once a call did not fit into the GPU's memory
        self._news: "Limits | None" = None
        self.takes_columns = bool(getattr(handler, "takes_columns", False))
        self.hears_of_secrets = callable(getattr(handler, "secrets_changed", None))

    @property
    def batch_size(self) -> int:
        """The most items in a call, as the handler says after `setup`. 0: it has no preference."""
        return max(0, int(getattr(self._handler, "batch_size", 0)))

    @property
    def calls_ahead(self) -> int:
        """For how many calls items should come at once: more than one where they are sorted."""
        return CALLS_AHEAD if callable(getattr(self._handler, "cost", None)) else 1

    def setup(self) -> None:
        """Let the handler load what it needs."""
        self._settle(getattr(self._handler, "setup", lambda: None)())

    def teardown(self) -> None:
        """Let the handler close what it opened."""
        self._settle(getattr(self._handler, "teardown", lambda: None)())
        self._loop.close()

    def secrets_changed(self) -> None:
        """Tell the handler that the environment has other secrets."""
        self._settle(getattr(self._handler, "secrets_changed", lambda: None)())

    def take_over(self, limits: Limits) -> None:
        """Make no call that is larger than what fitted into the same type of GPU before."""
        self._fits = Fitting(limits)

    def newly_found(self) -> "Limits | None":
        """The limits that this process has found since the last question; None: no others."""
        news, self._news = self._news, None
        return news

    def __call__(self, batch: Sequence[Item]) -> list[Outcome]:
        """The outcome of each item, in order."""
        if getattr(self._handler, "takes_one_item", False):
            return self._one_by_one(batch)
        costs = self._costs(batch)
        found: dict[int, Outcome] = {}
        calls = formed(range(len(batch)), costs, self._limits())
        while calls:
            places = calls.pop(0)
            try:
                outcomes = bisected(self._whole, [batch[place] for place in places], self._keep)
            except TooLarge:
                outcomes = []
            if outcomes:
                found.update(zip(places, outcomes, strict=True))
                self._fitted(outcomes, max(costs[place] for place in places))
                continue
            self._take_less([costs[place] for place in places])
            left = [place for call in [places, *calls] for place in call]
            calls = formed(left, costs, self._limits())
        return [found[place] for place in range(len(batch))]

    def _limits(self) -> Limits:
        fits = self._fits.limits
        sizes = [size for size in (self.batch_size, self._most_items, fits.items) if size > 0]
        costs = (float(getattr(self._handler, "batch_cost", 0) or 0), fits.cost)
        return Limits(min(sizes, default=0), min((c for c in costs if c > 0), default=0.0))

    def _take_less(self, costs: Sequence[float]) -> None:
        """Remember for this process that a call with these items does not fit."""
        gpu_memory.free()
        self._fits = self._fits.too_large(costs)
        less = Limits().halved(costs)
        most = f"{less.items} items" if less.items else f"a cost of {less.cost:g}"
        sys.stderr.write(
            f"podfleet: {len(costs)} items do not fit into the GPU's memory; "
            f"a call now has at most {most}\n"
        )
        sys.stderr.flush()

    def _fitted(self, outcomes: Sequence[Any], largest: float = 0.0) -> None:
        """Remember that a call with all these items fitted; a failed item may have stopped it early."""
        if self._fits.is_open and not any(isinstance(o, (Failed, Exception)) for o in outcomes):
            self._learn(self._fits.fitted(len(outcomes), largest))

    def _learn(self, fits: Fitting) -> None:
        if fits.proven:
            self._news = fits.limits
        self._fits = fits

    def _costs(self, batch: Sequence[Item]) -> list[float]:
        cost = getattr(self._handler, "cost", None)
        return [_cost(cost, item) for item in batch] if callable(cost) else [0.0] * len(batch)

    def _whole(self, batch: Sequence[Item]) -> Sequence[Result]:
        results = self._settle(self._handler(batch))
        if isinstance(results, (str, bytes, Mapping)) or not hasattr(results, "__len__"):
            raise TypeError(f"the handler returned {type(results).__name__}, not a list")
        return list(results)

    def _one_by_one(self, batch: Sequence[Item]) -> list[Outcome]:
        """The outcome of each item. Items that are worked on at the same time share the memory."""
        found: dict[int, Outcome] = {}
        left = list(range(len(batch)))
        while left:
            most = self._fits.limits.items or len(left)
            places, left = left[:most], left[most:]
            together, results = self._at_once([batch[place] for place in places])
            large = [n for n, result in enumerate(results) if _does_not_fit(result)]
            again = large if together and len(places) > 1 else []
            if together:
                self._fitted(results)
            for n in set(range(len(places))) - set(again):
                found[places[n]] = self._keep(results[n])
            del results  # its errors keep tensors in memory
            if again:
                self._take_less([0.0] * len(places))
                left = [places[n] for n in again] + left
            elif large:
                gpu_memory.free()
        return [found[place] for place in range(len(batch))]

    def _at_once(self, batch: Sequence[Item]) -> tuple[bool, list[Result]]:
        """Whether the handler works on items at the same time, and the result or error of each."""
        results = [attempt(self._handler, item) for item in batch]
        if not any(map(inspect.isawaitable, results)):
            return False, results
        return True, list(self._loop.run_until_complete(at_the_same_time(results)))

    def _settle(self, value: Any) -> Any:
        return self._loop.run_until_complete(value) if inspect.isawaitable(value) else value


def _cost(cost: Callable[[Item], float], item: Item) -> float:
    """What the handler says; 0 where it cannot say: the item then fails in its call."""
    try:
        found = float(cost(item))
    except Exception:  # noqa: BLE001 - the user's code may raise anything
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def _does_not_fit(result: Result) -> bool:
    return isinstance(result, Exception) and gpu_memory.is_out_of_memory(result)


def attempt(handler: Callable[[Item], Result], item: Item) -> Result:
    """The handler's result for one item, or the exception that it raised."""
    try:
        return handler(item)
    except Exception as exc:  # noqa: BLE001 - the user's code may raise anything; it is recorded
        return exc


async def at_the_same_time(results: Sequence[Result]) -> list[Result]:
    """The result or the exception of each awaitable. Other results stay as they are."""

    async def settled(result: Result) -> Result:
        return await result if inspect.isawaitable(result) else result

    return await asyncio.gather(*map(settled, results), return_exceptions=True)


def bisected(call: Call, batch: Sequence[Item], keep: Callable[[Result], Outcome]) -> list[Outcome]:
    """The outcome of each item. A batch that raises is halved until the bad items are alone.

    Good items may be worked on again meanwhile: log2(n) times for one bad item among n.

    Raises:
        TooLarge: a batch of several items does not fit into the GPU's memory.
    """
    try:
        results = call(batch)
        if len(results) != len(batch):
            raise ValueError(f"the handler returned {len(results)} results for {len(batch)} items")
    except Exception as exc:  # noqa: BLE001 - the user's code may raise anything; it is recorded
        if len(batch) <= 1:
            return [Failed.of(exc) for _ in batch]
        too_large = gpu_memory.is_out_of_memory(exc)
    else:
        return [keep(result) for result in results]
    if too_large:  # outside the block above: its error keeps tensors in memory
        raise TooLarge
    middle = len(batch) // 2
    return bisected(call, batch[:middle], keep) + bisected(call, batch[middle:], keep)


def outcome(result: Result) -> Outcome:
    """A handler's result as it is stored: bytes and text unchanged, anything else as JSON."""
    if isinstance(result, BaseException):
        return Failed.of(result)
    try:
        value = encode(result)
    except (TypeError, ValueError, RecursionError) as exc:
        return Failed.of(exc)
    if len(value) > LARGEST_RESULT_BYTES:
        return Failed(f"a result of {len(value)} bytes; at most {LARGEST_RESULT_BYTES} are stored")
    return value


def encode(result: Result) -> bytes:
    """The bytes of a result.

    Raises:
        TypeError, ValueError: it is neither bytes, text nor JSON. NaN is not JSON.
    """
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result)
    if isinstance(result, str):
        return result.encode()
    return json.dumps(
        result, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_as_list
    ).encode()


def _as_list(value: Any) -> Any:
    """The list of an array or a number of any library that has `tolist()`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is neither bytes, text nor JSON")
