"""Runs the manager's tasks as a worker that can be killed or frozen at any of its calls.

A call is a database statement, a Redis command, a request to a vendor or the sending of a task. The
process can end or freeze just before it and just after it.
"""

import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.db import connection

from pods.providers.errors import ProviderError
from tests.simulation.draws import Draws
from tests.simulation.hosts import Hosts

ENDED_SHARE: Final = 0.03  # the share of tasks that are killed or frozen
# Of a task, of most tasks, and of a tick that starts pods: a task with fewer calls runs to its end.
LAST_CALLS: Final = (20, 40, 60)
LAST_CALL: Final = max(LAST_CALLS)
FROZEN_SECONDS: Final = (20, 60, 200)  # within a tick's lease, within a claim, and longer than both
CREATES: Final = ("before POST /v2/pods", "before PUT /api/v0/asks")
# A killed process's transaction is rolled back; here the next task uses the same connection.
UNDOING: Final = ("BEGIN", "ROLLBACK", "RELEASE", "SAVEPOINT")


class Killed(BaseException):
    """The worker is killed here."""


class TaskFailed(AssertionError):
    """A task raised an error that no task may raise."""


@dataclass(slots=True)
class _Attempt:
    what: str
    end_at: int = 0  # the call at which it ends; 0: it runs to its end
    frozen_for: int = 0  # seconds; 0: it is killed instead
    calls: int = 0
    killed: bool = False
    frozen_at: int = -1  # the call at which it was frozen


class Worker:
    """Runs one task at a time; while one is frozen, `run_others(seconds)` runs the others."""

    def __init__(self, draws: Draws, hosts: Hosts, run_others: Callable[[float], None]) -> None:
        self._draws, self._hosts, self._run_others = draws, hosts, run_others
        # Of the next task: the call at which it ends, and for how many seconds it is frozen (0: killed).
        self.next_end: tuple[int, int] | None = None
        self._attempts: list[_Attempt | None] = []  # None on top: a task is frozen
        # The tasks that were frozen just before the request of a create. No list and no claim can stop
        # such a request, and the vendor has no idempotency tokens.
        self.late_creates: set[str] = set()

    @property
    def at_work(self) -> bool:
        """Whether a call that comes now belongs to a task."""
        return bool(self._attempts) and self._attempts[-1] is not None

    def run(self, what: str, task: Callable[[], Any]) -> None:
        """Run a task, or a request of an operator, on one of the hosts until it ends or is killed.

        Raises:
            TaskFailed: it raised an error that Celery would log as a bug.
        """
        self._attempts.append(self._new_attempt(what))
        try:
            with self._hosts.one():
                task()
        except Killed:
            self._draws.record(f"{what}: killed")
        except ProviderError as exc:
            self._draws.record(f"{what}: {type(exc).__name__} {exc}"[:160])
        except Exception as exc:
            raise TaskFailed(f"{what}: {type(exc).__name__} {exc}") from exc
        finally:
            self._attempts.pop()

    def _new_attempt(self, what: str) -> _Attempt:
        attempt = _Attempt(what)
        nested = len(self._attempts) > 1
        if self.next_end is not None and not nested:
            (attempt.end_at, attempt.frozen_for), self.next_end = self.next_end, None
            return attempt
        own = (
            None if nested else self._draws.occurs(ENDED_SHARE, f"{what} will be killed or frozen")
        )
        if own is not None:
            attempt.end_at = own.randint(1, own.choice(LAST_CALLS))
            attempt.frozen_for = own.choice((0, 0, *FROZEN_SECONDS))
        return attempt

    def call(self, where: str) -> None:
        """Note that a call of the task begins or has ended; kill or freeze the task if it is time.

        Raises:
            Killed: the task is killed here.
        """
        attempt = self._attempts[-1] if self._attempts else None
        if attempt is None:
            return
        attempt.calls += 1
        if attempt.killed:
            raise Killed
        if attempt.end_at and attempt.calls >= attempt.end_at:
            self._end(attempt, where)
        if where.startswith(CREATES) and 0 <= attempt.calls - attempt.frozen_at <= 1:
            self.late_creates.add(attempt.what)

    def _end(self, attempt: _Attempt, where: str) -> None:
        if not attempt.frozen_for:
            attempt.killed = True
            self._draws.record(f"{attempt.what} is killed {where}")
            raise Killed
        # All tasks share the connection: not in a transaction, nor before an INSERT's rows are read.
        if not connection.in_atomic_block and not where.startswith("after INSERT"):
            self._freeze(attempt, where)

    def _freeze(self, attempt: _Attempt, where: str) -> None:
        seconds, attempt.end_at = attempt.frozen_for, 0
        attempt.frozen_at = attempt.calls
        self._draws.record(f"{attempt.what} is frozen {where} for {seconds} s")
        self.meanwhile(partial(self._run_others, seconds))
        self._draws.record(f"{attempt.what} runs on")

    def meanwhile(self, act: Callable[[], None]) -> None:
        """Act as another process does, while the task waits."""
        self._attempts.append(None)
        try:
            with self._hosts.none():
                contextvars.Context().run(act)
        finally:
            self._attempts.pop()

    def statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Run a database statement as a call; for `connection.execute_wrapper`."""
        if not self.at_work or sql.startswith(UNDOING):
            return execute(sql, params, many, context)
        words = " ".join(sql.split()[:3]).replace('"', "")
        self.call(f"before {words}")
        answer = execute(sql, params, many, context)
        if not sql.startswith("SELECT"):
            self.call(f"after {words}")
        return answer
