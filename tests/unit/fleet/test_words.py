"""Pages show numbers in words and units that operators know."""

import re
from datetime import timedelta
from pathlib import Path

from fleet.decision.fleet_health import Health
from fleet.pages.words import HEALTH, depth, duration, per_second, spaced, time_left, usd


def test_a_duration_has_its_two_largest_units() -> None:
    assert [duration(timedelta(seconds=n)) for n in (-1, 5, 60, 125, 7_260, 273_600)] == [
        "0 s", "5 s", "1 min", "2 min 5 s", "2 h 1 min", "3 d 4 h",
    ]  # fmt: skip


def test_what_is_left_has_no_seconds_because_it_is_an_estimate() -> None:
    assert [time_left(timedelta(seconds=n)) for n in (0.1, 59, 60, 3_900)] == [
        "less than a minute", "less than a minute", "1 min", "1 h 5 min",
    ]  # fmt: skip
    assert time_left(None) == "–"


def test_unknown_values_are_shown_as_unknown() -> None:
    assert usd(None) == duration(None) == per_second(None) == "–"
    assert depth(None) == "unknown"


def test_an_estimated_depth_says_so() -> None:
    assert depth(12_345, estimated=True) == "about 12,345"


def test_a_name_is_written_with_spaces() -> None:
    assert spaced("stop_all") == "stop all"


def test_each_health_has_its_words_and_its_row_in_the_page() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "health.md"
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", page.read_text(), re.MULTILINE)
    assert rows == [(h.value, f"{HEALTH[h].icon} {HEALTH[h].word}") for h in Health]
