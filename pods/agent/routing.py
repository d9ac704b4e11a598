"""Which stream an item's result goes to."""

from fnmatch import fnmatchcase

from pods.agent.protocol import AgentSettings


class Routes:
    """The fleet's result stream, and those that items may name."""

    def __init__(self, settings: AgentSettings) -> None:
        self.default = settings.results
        self._allowed = [f"{settings.results}:*"]
        self._allowed += [p.strip() for p in settings.reply_to.split(",") if p.strip()]
        # a result there would be work, or a command
        self._never = {settings.stream, settings.dead}

    def target(self, reply_to: str) -> str | None:
        """The stream for a result; None where the item names one that it may not."""
        if reply_to in ("", self.default):
            return self.default
        if reply_to in self._never or reply_to.startswith("podfleet:"):
            return None
        return reply_to if any(fnmatchcase(reply_to, p) for p in self._allowed) else None
