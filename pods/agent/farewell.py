"""What every agent of a stream does at its end: it gives back what it has, and says goodbye."""

import logging
import time

from pods.agent.control import Control, Intent
from pods.agent.heartbeat import Beating
from pods.agent.holding import Holding
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings, AgentState
from pods.agent.stream import Stream

log = logging.getLogger("podfleet.agent")

EXIT_HANDLER_BROKEN = 3
# A failed agent sends this many more heartbeats, so that its note is read. Then it ends.
FINAL_BEATS = 5
# An agent that ends tries this long to reach Redis. After that its items are left to time out.
GOODBYE_SECONDS = 5.0


def say_goodbye(stream: Stream, holding: Holding, patience: Patience) -> None:
    """Give back the unfinished items, and remove the consumer's name from the group."""
    deadline = time.monotonic() + GOODBYE_SECONDS

    def goodbye(tries: int) -> None:
        if time.monotonic() > deadline:
            raise GivenUp("Redis could not be reached in time")
        unfinished = holding.all()
        released = stream.release(unfinished)
        holding.drop(entry for entry, _ in unfinished)
        stream.leave()
        log.info("agent_left released=%d", released)

    try:
        patience.with_("goodbye", goodbye, until=Intent.FENCED)
    except GivenUp as exc:
        log.warning("goodbye_given_up because=%r in_flight=%d", str(exc), len(holding))


def report_broken(
    why: str, settings: AgentSettings, progress: Progress, beating: Beating, control: Control
) -> None:
    """Let the manager read why this agent cannot work."""
    log.error("agent_failed because=%r", why)
    progress.trouble("handler", why)
    beating.state = AgentState.FAILED
    control.wait_beyond(Intent.WORK, FINAL_BEATS * settings.heartbeat_seconds)
