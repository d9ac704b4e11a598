"""Renews the short-lived keys of all fleets: those that are due are asked for side by side."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Final

import structlog
from django.db.models import F

from fleet.models import Fleet
from fleet.secrets import channel, issuing, sts

log = structlog.get_logger(__name__)
# Calls at the same time. They only wait, so that a store which does not answer holds up no other.
AT_ONCE: Final = 16
# For how long one run begins to ask. It ends a call later, and the next run goes on.
LONGEST: Final = timedelta(seconds=20)
# Until when one run writes to Redis. A server that does not answer takes some seconds, and the ticks
# of its fleets write what is left.
LONGEST_WITH_REDIS: Final = timedelta(seconds=40)

Calls = dict[Future[sts.Keys | sts.NotIssued], tuple[Fleet, issuing.Request]]


def renew_keys(*, longest: timedelta = LONGEST) -> int:
    """Ask for the keys that are due, and give them to the pods; return how many fleets got some.

    Those go first whose last try did not fail, then those that waited longest. Safe to run twice, at
    the same time, or to be killed at any line.
    """
    began = time.monotonic()
    renewed: list[Fleet] = []
    calls: Calls = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sts") as pool:
        for fleet in _in_turn():
            if time.monotonic() - began > longest.total_seconds():
                log.info("keys_left_for_the_next_run")
                break
            if (request := _claimed(fleet)) is not None:
                calls[pool.submit(issuing.asked, request)] = fleet, request
            if len(calls) >= AT_ONCE:
                renewed += _recorded(calls)
        while calls:
            renewed += _recorded(calls)
    for fleet in renewed:
        if time.monotonic() - began > LONGEST_WITH_REDIS.total_seconds():
            break
        channel.keep_if_possible(fleet)
    return len(renewed)


def _in_turn() -> Sequence[Fleet]:
    """The fleets that have a role."""
    rows = Fleet.objects.filter(archived_at=None, issued_keys__isnull=False)
    return list(rows.order_by(F("issued_keys__failed_at").asc(nulls_first=True), "pk"))


def _claimed(fleet: Fleet) -> issuing.Request | None:
    try:
        return issuing.claimed(fleet)
    except Exception:  # the others have their turn
        log.exception("keys_not_asked_for", fleet=fleet.name)
        return None


def _recorded(calls: Calls) -> list[Fleet]:
    """Wait for a call, and write down what has come; the fleets that got keys."""
    done, _ = wait(calls, return_when=FIRST_COMPLETED)
    ended = [(*calls.pop(call), call.result()) for call in done]
    return [fleet for fleet, request, answer in ended if issuing.record(request, answer)]
