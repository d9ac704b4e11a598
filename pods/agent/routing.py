"""The stream to which an item's result goes."""

from fnmatch import fnmatchcase

from pods.agent.protocol import AgentSettings


class Routes:
    """The fleet's result stream, and the other streams that items may name."""

    def __init__(self, settings: AgentSettings) -> None:
        self.default = settings.results
        self._allowed = [f"{settings.results}:*"]
        self._allowed += [p.strip() for p in settings.reply_to.split(",")]
        # a result there would be read as an item or a command
        self._never = {settings.stream, settings.dead}

    def target(self, reply_to: str) -> str | None:
        """The stream for a result. None where the item may not name that stream."""
        if reply_to in ("", self.default):
            return self.default
        if reply_to in self._never or reply_to.startswith("podfleet:"):
            return None
        return reply_to if any(fnmatchcase(reply_to, p) for p in self._allowed) else None
