"""The health check of beat refuses a time that is not one."""

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0", "-5", "soon"])
def test_a_time_that_cannot_be_used_is_refused_at_its_option(seconds: str) -> None:
    with pytest.raises(CommandError, match=r"--seconds: .* is not a time; give seconds above 0"):
        call_command("beat_alive", f"--seconds={seconds}")
