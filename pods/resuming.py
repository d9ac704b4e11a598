"""Runs a stopped pod again, if its host is still available."""

from typing import Any

from pods import dispatch, lifecycle
from pods.accounts import breaker, connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.agent_redis import fencing
from pods.agent_redis.fencing import Unfenced
from pods.base.shared_clock import shared_now
from pods.models import Pod
from pods.plural import plural
from pods.providers.base import Phase
from pods.providers.errors import Declined, TryAgain
from pods.rules import PodRule
from pods.spawning import TRIES, pause
from pods.states import BOOTING, RESUMING, STOPPED, TERMINATING


def begin_resume(pod: Pod, *, by: str, because: str) -> None:
    """Begin to run a stopped pod again; from now on it counts as capacity.

    Raises:
        Overtaken: the row changed since it was read.
    """
    facts: dict[str, Any] = {"retire_rule": "", "retire_because": "", "stop_when_idle": False}
    lifecycle.move(pod, RESUMING, by=by, rule=PodRule.WANTED, because=because, **facts)
    dispatch.send(dispatch.RESUME, pod.pk)


def resume_pod(pod_id: int, *, connect: Connect = connecting.connect) -> None:
    """Start the stopped machine, and ask until it runs; if it cannot run, destroy it.

    Safe to run twice, at the same time, or to be killed at any line.
    """
    with lifecycle.claimed(pod_id) as pod:
        if pod is None or pod.status is not RESUMING:
            return
        assert pod.external_id is not None
        try:
            provider = connect(pod.account)
            phase = provider.status(pod.external_id).phase
            if phase in {Phase.RUNNING, Phase.BOOTING}:
                lifecycle.move(
                    pod, BOOTING, by="resume", because="it runs again", booted_at=shared_now()
                )
                return
            if phase is Phase.GONE:
                _replace(pod, "cannot be resumed: the provider lists it as ended")
                return
            if pod.attempts >= TRIES:
                _replace(pod, f"did not run after {plural(pod.attempts, 'try')} to start it")
                return
            if why := breaker.why_unused(pod.account, now=shared_now()):
                lifecycle.move(pod, STOPPED, by="resume", because=f"not started: {why}")
                return
            fencing.recall(pod)
            provider.start(pod.external_id)
        except Declined as exc:
            _replace(pod, f"cannot be resumed: {exc}")
            return
        except (TryAgain, CannotConnect) as exc:
            breaker.failed(pod.account, exc, creating=True)
            _later(pod, str(exc))
            return
        except Unfenced as exc:
            _later(pod, str(exc))
            return
        _later(pod, "started; waiting until it runs")


def _replace(pod: Pod, because: str) -> None:
    lifecycle.move(
        pod,
        TERMINATING,
        by="resume",
        rule=PodRule.CANNOT_RESUME,
        because=because,
        retire_because=because[:500],
    )
    dispatch.send(dispatch.TEARDOWN, pod.pk)


def _later(pod: Pod, because: str) -> None:
    wait = pause(pod.attempts)
    lifecycle.postpone(pod, by=wait, because=because)
    dispatch.next_step(pod.pk, RESUMING, countdown=wait.total_seconds())
