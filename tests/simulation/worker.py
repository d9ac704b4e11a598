"""Runs the manager's tasks as a worker that may be killed or frozen at any of its calls.

A call is one statement of the database, one command of Redis or one request to a vendor, and the
sending of a task: just before it and just after it the process may die or stand still.
"""

import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from pods.providers.errors import ProviderError
from tests.simulation.dice import Dice

DEADLY: Final = 0.03  # the share of tasks that die, or stand still
LAST_CALL: Final = 45  # a task that has fewer calls outlives what was to end it
FROZEN_SECONDS: Final = (20, 60, 200)  # a lease of a tick, of a claim, and longer than both
CREATES: Final = ("before POST /v2/pods", "before PUT /api/v0/asks")
# Of a process that died the server undoes the transaction; that of one task is the next one's too.
UNDOING: Final = ("BEGIN", "ROLLBACK", "RELEASE", "SAVEPOINT")


class Killed(BaseException):
    """The worker is killed here."""


class Broke(AssertionError):
    """A task raised what no task may raise."""


@dataclass(slots=True)
class _Attempt:
    what: str
    end_at: int = 0  # the call at which it ends; 0: it lives
    frozen_for: int = 0  # seconds; 0: it is killed instead
    calls: int = 0
    dead: bool = False
    stood_still_at: int = -1  # the call


class Worker:
    """Runs one task at a time; while one is frozen, `meanwhile(seconds)` lets the others go on."""

    def __init__(self, dice: Dice, meanwhile: Callable[[float], None]) -> None:
        self._dice, self._meanwhile = dice, meanwhile
        self.doom: tuple[int, int] | None = None  # of the next task: at which call, frozen for (s)
        self._attempts: list[_Attempt | None] = []  # None: nobody's turn, while one is frozen
        # The tasks that stood still with nothing but the request between them and a create: no look
        # and no claim can keep such a request from the vendor, who knows no idempotency tokens.
        self.late_creates: set[str] = set()

    @property
    def at_work(self) -> bool:
        """Whether a call that comes now is a task's."""
        return bool(self._attempts) and self._attempts[-1] is not None

    def run(self, what: str, task: Callable[[], Any]) -> None:
        """Run a task to its end, whichever that is.

        Raises:
            Broke: it raised what Celery would have logged as a bug.
        """
        self._attempts.append(self._begun(what))
        try:
            task()
        except Killed:
            self._dice.say(f"{what}: killed")
        except ProviderError as exc:
            self._dice.say(f"{what}: {type(exc).__name__} {exc}"[:160])
        except Exception as exc:
            raise Broke(f"{what}: {type(exc).__name__} {exc}") from exc
        finally:
            self._attempts.pop()

    def _begun(self, what: str) -> _Attempt:
        attempt = _Attempt(what)
        nested = len(self._attempts) > 1
        if self.doom is not None and not nested:
            (attempt.end_at, attempt.frozen_for), self.doom = self.doom, None
            return attempt
        fate = None if nested else self._dice.strikes(DEADLY, f"{what} is to die or stand still")
        if fate is not None:
            attempt.end_at = fate.randint(1, LAST_CALL)
            attempt.frozen_for = fate.choice((0, 0, *FROZEN_SECONDS))
        return attempt

    def call(self, where: str) -> None:
        """A task's call begins or has ended: here it may die.

        Raises:
            Killed: it does.
        """
        attempt = self._attempts[-1] if self._attempts else None
        if attempt is None:
            return
        attempt.calls += 1
        if attempt.dead:
            raise Killed
        if attempt.end_at and attempt.calls >= attempt.end_at:
            self._end(attempt, where)
        if where.startswith(CREATES) and 0 <= attempt.calls - attempt.stood_still_at <= 1:
            self.late_creates.add(attempt.what)

    def _end(self, attempt: _Attempt, where: str) -> None:
        if not attempt.frozen_for:
            attempt.dead = True
            self._dice.say(f"{attempt.what} dies {where}")
            raise Killed
        # Not while the rows that an INSERT returns are to be fetched: the connection is everybody's.
        if not connection.in_atomic_block and not where.startswith("after INSERT"):
            self._freeze(attempt, where)

    def _freeze(self, attempt: _Attempt, where: str) -> None:
        seconds, attempt.end_at = attempt.frozen_for, 0
        attempt.stood_still_at = attempt.calls
        self._dice.say(f"{attempt.what} stands still {where} for {seconds} s")
        self._attempts.append(None)
        try:
            contextvars.Context().run(self._meanwhile, seconds)
        finally:
            self._attempts.pop()
        self._dice.say(f"{attempt.what} goes on")

    def statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """A statement of the database; for `connection.execute_wrapper`."""
        if not self.at_work or sql.startswith(UNDOING):
            return execute(sql, params, many, context)
        words = " ".join(sql.split()[:3]).replace('"', "")
        self.call(f"before {words}")
        answer = execute(sql, params, many, context)
        if not sql.startswith("SELECT"):
            self.call(f"after {words}")
        return answer
