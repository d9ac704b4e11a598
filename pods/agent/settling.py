"""Ends a batch: publishes and acknowledges its results, and settles its failures."""

import logging
import time

from pods.agent.calling import Failed, Outcome
from pods.agent.control import Intent
from pods.agent.handlers import Item
from pods.agent.holding import Holding
from pods.agent.patience import Patience
from pods.agent.progress import Progress
from pods.agent.protocol import ITEM_ID, ITEM_REPLY_TO
from pods.agent.routing import Routes
from pods.agent.stream import Committed, Entry, Failure, ItemResult, Settled, Stream, split

log = logging.getLogger("podfleet.agent")

OWN_ID, REPLY_TO = ITEM_ID.encode(), ITEM_REPLY_TO.encode()


def own_id(entry: Entry) -> bytes:
    """The user's own id, byte for byte, or else the entry id."""
    return entry.fields.get(OWN_ID) or entry.id.encode()


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
        self._fail(bad)
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
        for entry, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Failed):
                failures.append(Failure(entry.id, outcome.error, outcome.traceback, outcome.final))
            else:
                target = self._target(entry) or ""
                results.append(ItemResult(entry.id, own_id(entry), target, outcome))
        self._holding.worked(batch)
        # these are not needed any more, so they take no memory while the server is awaited
        batch.clear()
        outcomes.clear()
        for part in split(results):
            self._commit(part)
        self._progress.add(failed=len(failures))
        tries = [f for f in failures if not f.final]
        self._progress.failed_for_pod(len(tries), tries[-1].error if tries else "")
        self._fail(failures)

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
        self._fail(list(committed.refused))

    def _fail(self, failures: list[Failure]) -> None:
        if not failures:
            return
        settled: list[Settled] = self._patience.with_(
            "dead letters", lambda _: self._stream.fail(failures), until=Intent.STOP
        )
        self._progress.add(dead=sum(s.became == "dead" for s in settled))
        errors = {f.entry: f.error for f in failures}
        for s in settled:
            if s.became == "retry":
                self._holding.retry_later(s.entry, s.deliveries, errors[s.entry])
        self._holding.drop(s.entry for s in settled if s.became != "retry")
