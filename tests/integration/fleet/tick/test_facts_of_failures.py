"""Which pods count as tries of a fleet's template, and what each of them says."""

from typing import Any

import pytest

from fleet.models import Fleet
from fleet.tick import failing
from pods.models import Pod
from pods.states import BOOTING, FAILED, READY, TERMINATED
from tests.support.factories import NOON, a_fleet, a_pod, seconds

pytestmark = pytest.mark.django_db
GAVE_UP: dict[str, Any] = {"retire_rule": "agent_failed", "retire_because": "no GPU"}


def a_failure(fleet: Fleet, **values: Any) -> Pod:
    return a_pod(fleet, TERMINATED, requested_at=NOON - seconds(60), **{**GAVE_UP, **values})


@pytest.mark.parametrize(
    ("state", "row", "works", "counts"),
    [
        (READY, {}, False, True),  # nobody knows yet
        (READY, {}, True, False),
        (READY, {"done": 1}, False, False),
        (TERMINATED, {"retire_rule": "idle"}, False, True),
        (TERMINATED, {"retire_rule": "idle", "done": 1}, False, False),
        (BOOTING, {"retire_rule": "agent_failed"}, False, True),  # of an earlier life
        (READY, {"done": 1, "template_hash": "another"}, False, True),
    ],
)
def test_a_pod_that_is_no_try_takes_no_place_among_the_tries(
    monkeypatch: pytest.MonkeyPatch, state: Any, row: dict[str, Any], works: bool, counts: bool
) -> None:
    monkeypatch.setattr(failing, "TRIES_READ", 1)
    fleet = a_fleet()
    a_failure(fleet)
    newest = a_pod(fleet, state, requested_at=NOON, **row)
    a_pod(a_fleet(), READY, requested_at=NOON, done=1)
    found = failing.failing_of(fleet, [newest.pk] if works else [])
    assert (found is not None and found.count == 1) is counts


@pytest.mark.parametrize(
    ("state", "row", "works", "worked"),
    [
        (READY, {}, False, False),
        (READY, {}, True, True),
        (READY, {"done": 1}, False, True),
        (TERMINATED, {"done": 1, "retire_rule": "idle"}, False, True),
    ],
)
def test_a_pod_that_has_finished_an_item_ends_the_row_of_failures(
    state: Any, row: dict[str, Any], works: bool, worked: bool
) -> None:
    fleet = a_fleet()
    a_failure(fleet)
    newest = a_pod(fleet, state, requested_at=NOON, **row)
    found = failing.failing_of(fleet, [newest.pk] if works else [])
    assert (found is None) is worked


def test_the_failures_of_another_fleet_or_template_are_not_counted() -> None:
    fleet = a_fleet()
    a_failure(a_fleet())
    a_failure(fleet, template_hash="another")
    assert failing.failing_of(fleet) is None
    a_failure(fleet)
    found = failing.failing_of(fleet)
    assert found is not None
    assert (found.count, found.because) == (1, "no GPU")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"retire_because": "silent", "because": "x"}, "silent"),
        ({"because": "the provider refused it"}, "the provider refused it"),
        (
            {"retire_because": "silent", "last_output": "a\nb c\n \n"},
            "silent; its output ends with 'b c'",
        ),
        ({"retire_because": "silent", "last_output": " \n"}, "silent"),
        ({**GAVE_UP, "last_output": "a"}, "no GPU"),
        (
            {"retire_because": "s", "last_output": "x" * 200},
            f"s; its output ends with {'x' * 120!r}",
        ),
    ],
)
def test_why_a_pod_ended_with_the_last_line_that_it_printed(row: dict[str, Any], says: str) -> None:
    assert failing._reason(Pod(**row)) == says


@pytest.mark.parametrize(
    ("state", "rule", "shown", "at"),
    [
        (TERMINATED, "silent", "silent", NOON),
        (TERMINATED, "", None, NOON),
        (READY, "silent", None, NOON - seconds(60)),
        (FAILED, "refused", "refused", NOON),
    ],
)
def test_what_a_try_says(state: Any, rule: str, shown: str | None, at: Any) -> None:
    pod = Pod(
        state=state.value, retire_rule=rule, requested_at=NOON - seconds(60), beat_at=NOON,
        interruptible=True, ready_at=NOON,
    )  # fmt: skip
    pod.ended_when = NOON
    one = failing._try(pod, worked=False)
    assert (one.rule, one.at, one.beats, one.interruptible) == (shown, at, True, True)
