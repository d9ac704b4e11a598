"""The threat model names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/explanation/security.md").read_text()))
    written = set()
    for path in (ROOT / "tests").rglob("*.py"):
        written |= set(re.findall(r"def (test_\w+)\(", path.read_text()))
    assert len(named) > 25
    assert named <= written, sorted(named - written)
