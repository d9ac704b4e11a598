"""What the handler in ring_handlers.py answers, and which rows end its process."""

from typing import Final

LENGTH: Final = 4096  # bytes of the answer for a row
# The numbers of rows: killed in the middle of the answer, behind it, and once the agent has heard of it.
WRITING, WRITTEN, SENT = 251, 252, 253
