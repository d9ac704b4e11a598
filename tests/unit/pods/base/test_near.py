"""Which moments people may give."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pods.base import clock
from pods.base.near import TooFar, refuse_far, refuse_far_day

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9999-12-31T23:59:59-12:00", "9999-12-31 23:59-12:00 is too far ahead"),
        ("9999-12-31T23:59:59", "give a moment before 2036-11-28"),
        ("0001-01-01T00:00:00+12:00", "0001-01-01 00:00+12:00 is too long ago"),
        ("2016-01-01T00:00:00+00:00", "give a moment after 2016-12-03"),
    ],
)
def test_a_moment_more_than_ten_years_away_is_refused(text: str, said: str) -> None:
    with clock.use(lambda: NOON), pytest.raises(TooFar) as raised:
        refuse_far(datetime.fromisoformat(text))
    assert said in str(raised.value)


def test_nearer_moments_and_days_are_taken() -> None:
    with clock.use(lambda: NOON):
        for moment in (NOON - 3649 * DAY, NOON, NOON + 3649 * DAY):
            refuse_far(moment)
            refuse_far_day(moment.date())
        refuse_far((NOON + 3650 * DAY - timedelta(hours=1)).astimezone(ZoneInfo("Asia/Tokyo")))


@pytest.mark.parametrize(
    ("day", "said"), [(date.min, "after 2016-12-03"), (date.max, "before 2036-11-28")]
)
def test_a_day_more_than_ten_years_away_is_refused(day: date, said: str) -> None:
    with clock.use(lambda: NOON), pytest.raises(TooFar) as raised:
        refuse_far_day(day)
    assert said in str(raised.value)
