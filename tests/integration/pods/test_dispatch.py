"""Which tasks are sent, when, and with which words."""

from typing import Any
from unittest import mock

import pytest

from pods import dispatch
from pods.dispatch import CHECK, LONGEST_COUNTDOWN_SECONDS, SPAWN, Outbox
from pods.states import READY, TERMINATING

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(django_capture_on_commit_callbacks: Any) -> Any:
    """What reaches the broker when the block commits: the task, its countdown and its expiry."""

    def of(act: Any) -> list[tuple[str, float | None, float]]:
        with mock.patch("pods.dispatch.current_app.send_task") as send_task:
            with django_capture_on_commit_callbacks(execute=True):
                act()
            return [
                (call.args[0], call.kwargs["countdown"], call.kwargs["expires"])
                for call in send_task.call_args_list
            ]

    return of


@pytest.mark.parametrize(
    ("task", "countdown", "arrives"),
    [
        (CHECK, 0, [(CHECK, None, 300)]),
        (SPAWN, 2.5, [(SPAWN, 2.5, 302.5)]),
        (SPAWN, LONGEST_COUNTDOWN_SECONDS, [(SPAWN, 300, 600)]),
        (SPAWN, LONGEST_COUNTDOWN_SECONDS + 1, []),  # the row has it
        (CHECK, LONGEST_COUNTDOWN_SECONDS + 1, [(CHECK, 301, 601)]),
    ],
)
def test_a_task_is_sent_unless_its_row_says_when_it_is_due(
    sent: Any, task: str, countdown: float, arrives: Any
) -> None:
    assert sent(lambda: dispatch.send(task, 7, countdown=countdown)) == arrives


def test_a_pod_without_a_next_step_is_sent_none(sent: Any) -> None:
    assert sent(lambda: dispatch.next_step(7, READY)) == []
    assert [task for task, *_ in sent(lambda: dispatch.next_step(7, TERMINATING))] == [
        "pods.teardown"
    ]


def test_what_is_sent_within_an_outbox_leaves_at_its_end(sent: Any) -> None:
    outbox = Outbox()

    def act() -> None:
        with outbox:
            dispatch.send(CHECK, 7)
            assert outbox._waiting == [(CHECK, (7,), 0)]

    assert sent(act) == [(CHECK, None, 300)]
