"""The verbs of operators on pods: the admin and the API call them."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from pods import teardown
from pods.lifecycle import Overtaken
from pods.models import Pod
from pods.rules import PodRule

TRIES: Final = 3  # a pod rarely moves more than once within a request


class PodVerb(StrEnum):
    """What an operator does with a pod."""

    DRAIN = "drain"  # finish the items in hand, then destroy
    STOP = "stop"  # drain, then keep only the disk
    DESTROY = "destroy"  # at once; other pods get the items in hand
    DESTROY_AGAIN = "destroy-again"  # ask the vendor now, not after the pause


class Act(Protocol):
    """A verb on a pod; False where it had begun already."""

    def __call__(self, pod: Pod, *, by: str) -> bool:
        """Act as `by`."""
        ...


def _drain(pod: Pod, *, by: str) -> bool:
    return teardown.retire_pod(pod, by=by, rule=PodRule.OPERATOR, because="drained by an operator")


def _stop(pod: Pod, *, by: str) -> bool:
    return teardown.stop_pod(pod, by=by, rule=PodRule.OPERATOR, because="stopped by an operator")


def _destroy(pod: Pod, *, by: str) -> bool:
    return teardown.retire_pod(
        pod, by=by, rule=PodRule.OPERATOR, because="destroyed by an operator", drain=False
    )


ACTS: Final[Mapping[PodVerb, Act]] = {
    PodVerb.DRAIN: _drain,
    PodVerb.STOP: _stop,
    PodVerb.DESTROY: _destroy,
    PodVerb.DESTROY_AGAIN: teardown.try_again,
}


def act(pod: Pod, verb: PodVerb, *, by: str) -> bool:
    """Do it on the pod as its row is now: a wish holds for whatever state it is in.

    Return False where there is nothing to do: the pod is ending or has ended; for DESTROY_AGAIN, it is
    not being destroyed.

    Raises:
        Overtaken: the row changed again at each of the tries.
        CannotStop: its provider cannot stop machines.
        CannotConnect: its account cannot be used as it is.
    """
    return _as_it_is(pod, partial(ACTS[verb], by=by[:60]))


def _as_it_is(pod: Pod, done: Callable[[Pod], bool]) -> bool:
    for _ in range(TRIES - 1):
        try:
            return done(pod)
        except Overtaken:
            pod.refresh_from_db()
    return done(pod)
