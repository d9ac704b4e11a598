"""Records of local machines, as the provider writes them."""

import json
from pathlib import Path
from typing import Any

RECORD: dict[str, Any] = {
    "token": "t",
    "name": "pf-7-t",
    "command": ["python"],
    "env": {"A": "b"},
    "stopped": False,
    "created_at": "2026-01-01T00:00:00+00:00",
}


def record(at: Path, **changes: Any) -> Path:
    """Write the record of a machine."""
    at.mkdir(parents=True, exist_ok=True)
    (at / "machine.json").write_text(json.dumps({**RECORD, **changes}))
    return at
