"""Ends a batch: publishes and acknowledges its results, and settles its failures."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from pods.agent.calling import Failed, Outcome
from pods.agent.control import Intent
from pods.agent.handlers import Item
from pods.agent.holding import Holding
from pods.agent.patience import Patience
from pods.agent.progress import Progress
from pods.agent.protocol import ITEM_ID, ITEM_REPLY_TO, MOST_FAILING
from pods.agent.routing import Routes
from pods.agent.stream import Committed, Entry, Failure, ItemResult, Settled, Stream, split

log = logging.getLogger("podfleet.agent")

OWN_ID, REPLY_TO = ITEM_ID.encode(), ITEM_REPLY_TO.encode()


def own_id(entry: Entry) -> bytes:
    """The user's own id, byte for byte, or else the entry id."""
    return entry.fields.get(OWN_ID) or entry.id.encode()


def believed(failures: Sequence[Failure], most_final: int) -> list[Failure]:
    """The failures, of which at most so many are final: the others have only failed a try.

    Where everything fails for good, the handler may be at fault, and it can be mended.
    """
    final = [f for f in failures if f.final]
    doubted = set(final[most_final:])
    return [replace(f, final=False) if f in doubted else f for f in failures]


class Settling:
    """Settles items and drops them from hand."""

    def __init__(
        self,
        stream: Stream,
        holding: Holding,
        progress: Progress,
        patience: Patience,
        routes: Routes,
    ) -> None:
        self._stream, self._holding, self._progress = stream, holding, progress
        self._patience, self._routes = patience, routes

    def refuse_unroutable(self, batch: list[Entry]) -> list[Entry]:
        """Put items whose result has no allowed stream on the dead letters. Returns the others."""
        good: list[Entry] = []
        bad: list[Failure] = []
        for entry in batch:
            if self._target(entry) is not None:
                good.append(entry)
            else:
                reply_to = Item(entry.id, entry.fields).reply_to
                bad.append(Failure(entry.id, f"reply_to {reply_to!r} is not allowed", final=True))
        self.fail(bad)
        return good

    def _target(self, entry: Entry) -> str | None:
        """The stream for an item's result. Most items name none."""
        if REPLY_TO not in entry.fields:
            return self._routes.default
        return self._routes.target(Item(entry.id, entry.fields).reply_to)

    def settle(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        """Publish, acknowledge and settle the outcomes of a batch. Both lists are empty afterwards.

        Raises:
            GivenUp: the agent must end before that.
        """
        results: list[ItemResult] = []
        failures: list[Failure] = []
        succeeded_at = 0
        for entry, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Failed):
                failures.append(Failure(entry.id, outcome.error, outcome.traceback, outcome.final))
            else:
                target = self._target(entry) or ""
                results.append(ItemResult(entry.id, own_id(entry), target, outcome))
                succeeded_at = len(failures)
        self._holding.worked(batch)
        # these are not needed any more, so they take no memory while the server is awaited
        batch.clear()
        outcomes.clear()
        for part in split(results):
            self._commit(part)
        self._progress.add(failed=len(failures))
        self.fail(failures, succeeded_at=succeeded_at)

    def _commit(self, results: list[ItemResult]) -> None:
        def attempt(tries: int) -> tuple[Committed, int]:
            began = time.monotonic()
            committed = self._stream.commit(results)
            self._holding.round_trip(time.monotonic() - began)
            return committed, tries

        committed, tries = self._patience.with_("commit", attempt, until=Intent.STOP)
        if tries:
            # the answer of a former try may have been lost, so these are most likely our own
            done = committed.done + committed.duplicates + committed.gone
            committed = Committed(done, 0, 0, committed.refused)
        if committed.gone:
            log.warning("results_not_published gone=%d", committed.gone)
        self._progress.add(
            done=committed.done, duplicates=committed.duplicates, gone=committed.gone
        )
        refused = {f.entry for f in committed.refused}
        self._holding.drop(r.entry for r in results if r.entry not in refused)
        self.fail(list(committed.refused))

    def fail(self, failures: list[Failure], *, succeeded_at: int = 0) -> None:
        """Settle failed tries; those before `succeeded_at` had a success after them."""
        if not failures:
            return
        failures = self._count(failures, succeeded_at)
        settled: list[Settled] = self._patience.with_(
            "dead letters", lambda _: self._stream.fail(failures), until=Intent.STOP
        )
        self._progress.add(dead=sum(s.became == "dead" for s in settled))
        errors = {f.entry: f.error for f in failures}
        for s in settled:
            if s.became == "retry":
                self._holding.retry_later(s.entry, s.deliveries, errors[s.entry])
        self._holding.drop(s.entry for s in settled if s.became != "retry")

    def _count(self, failures: list[Failure], succeeded_at: int) -> list[Failure]:
        """Count the failures in a row, and return all failures as far as they are believed."""
        in_a_row = failures[succeeded_at:]
        if not in_a_row:
            return failures
        most_final = max(1, MOST_FAILING - self._progress.in_a_row)
        self._progress.failed_in_a_row(
            tries=[f.entry for f in in_a_row],
            final=[f.entry for f in in_a_row if f.final],
            error=in_a_row[-1].error,
        )
        return failures[:succeeded_at] + believed(in_a_row, most_final)
