"""Retires a pod: drains, fences and destroys it, then asks until it is proved gone."""

from datetime import timedelta
from typing import Final

from pods import dispatch, lifecycle
from pods.accounts import breaker, connecting, machine_logs
from pods.accounts.connecting import CannotConnect, Connect
from pods.agent.protocol import AgentState, Command
from pods.agent_redis import fencing, heartbeats
from pods.agent_redis.fencing import Unfenced
from pods.agent_redis.heartbeats import HeartbeatsUnknown
from pods.base.shared_clock import shared_now
from pods.costs import segments
from pods.models import Pod
from pods.providers.base import Machine, Phase, Provider
from pods.providers.errors import NotFound, ProviderError, RateLimited
from pods.rules import LOST_RULES, PodRule
from pods.spawning import pause
from pods.states import (
    BOOTING,
    CREATING,
    DRAINING,
    FAILED,
    LOST,
    READY,
    REQUESTED,
    STOPPED,
    STOPPING,
    TERMINATED,
    TERMINATING,
    PodState,
)

DRAIN_STEP: Final = timedelta(seconds=2)
CONFIRM_STEP: Final = timedelta(seconds=1)
# How long a destroy waits for a fence if Redis is down: it must not keep pods billing.
FENCE_PATIENCE: Final = timedelta(minutes=2)
STOP_PATIENCE: Final = timedelta(minutes=10)  # then the pod is destroyed instead


class CannotStop(Exception):
    """The pod's provider cannot stop a machine and keep it."""


def retire_pod(pod: Pod, *, by: str, rule: PodRule, because: str, drain: bool = True) -> bool:
    """Begin the end of a pod from any state; False if the end had begun already.

    Raises:
        Overtaken: the row changed since it was read.
    """
    state = pod.status
    if state is REQUESTED:
        why = f"{because}; the provider was not asked"
        lifecycle.move(pod, FAILED, by=by, rule=rule, because=why)
        return True
    if state is CREATING:
        # Nobody knows yet whether a machine exists: the spawn destroys it if it finds one.
        took = Pod.objects.filter(pk=pod.pk, state=CREATING.value, retire_rule="").update(
            retire_rule=rule.value, retire_because=because[:500]
        )
        if took:
            lifecycle.note(pod, by=by, rule=rule, because=because)
        elif not Pod.objects.filter(pk=pod.pk, state=CREATING.value).exists():
            raise lifecycle.Overtaken(f"{pod} is no longer {CREATING.value}")
        return bool(took)
    if state is READY and drain:
        to = DRAINING
    elif state in {BOOTING, READY, STOPPED, STOPPING, PodState.RESUMING} or (
        state is DRAINING and not drain
    ):
        to = TERMINATING
    else:
        return False
    lifecycle.move(pod, to, by=by, rule=rule, because=because, retire_because=because[:500])
    dispatch.send(dispatch.TEARDOWN, pod.pk)
    return True


def stop_pod(
    pod: Pod,
    *,
    by: str,
    rule: PodRule,
    because: str,
    connect: Connect = connecting.connect,
) -> bool:
    """Drain a READY pod and halt its machine, which keeps its disk; False if it is not READY.

    Raises:
        CannotStop: its provider cannot stop machines.
        CannotConnect: its account cannot be used as it is.
        Overtaken: the row changed since it was read.
    """
    if not connect(pod.account).capabilities.can_stop:
        raise CannotStop(f"{pod.provider} cannot stop a machine and keep it; drain it instead")
    if pod.status is not READY:
        return False
    lifecycle.move(
        pod,
        DRAINING,
        by=by,
        rule=rule,
        because=because,
        retire_because=because[:500],
        stop_when_idle=True,
    )
    dispatch.send(dispatch.TEARDOWN, pod.pk)
    return True


def try_again(pod: Pod, *, by: str) -> bool:
    """Make the next try to destroy a pod due now, instead of after its pause; False if none is.

    It only moves the time of a step: the step itself looks at the machine before it asks.
    """
    due = Pod.objects.filter(pk=pod.pk, state=TERMINATING.value)
    if not due.update(due_at=shared_now()):
        return False
    lifecycle.note(pod, by=by, rule=PodRule.OPERATOR, because="an operator asked to try again now")
    dispatch.send(dispatch.TEARDOWN, pod.pk)
    return True


def teardown_pod(pod_id: int, *, connect: Connect = connecting.connect) -> None:
    """Do the next step of a pod's end, and send the task for the step after it.

    Safe to run twice, at the same time, or to be killed at any line. Never gives up.
    """
    with lifecycle.claimed(pod_id) as pod:
        if pod is None:
            return
        if pod.status is DRAINING:
            _drain(pod)
        if pod.status is STOPPING:
            _stop(pod, connect)
        elif pod.status is TERMINATING:
            _terminate(pod, connect)


def _drain(pod: Pod) -> None:
    now = shared_now()
    because = _drained(pod)
    if because is None and now - pod.state_since > timedelta(seconds=pod.drain_seconds):
        because = f"did not drain within {pod.drain_seconds} s"
    if because is None:
        _again(pod, DRAIN_STEP)
        return
    to = STOPPING if pod.stop_when_idle and pod.retire_rule not in LOST_RULES else TERMINATING
    lifecycle.move(pod, to, by="teardown", because=because)


def _drained(pod: Pod) -> str | None:
    """Why the drain has ended; None while it has not, or while nobody knows."""
    try:
        fencing.send_command(pod, Command.DRAIN)
        beat = heartbeats.read([pod]).beats.get(pod.pk)
    except (Unfenced, HeartbeatsUnknown):
        return None
    if beat is None:
        return None
    if beat.said.state in {AgentState.DRAINED, AgentState.FAILED}:
        return f"the agent says {beat.said.state.value}"
    return None


def _provider(pod: Pod, connect: Connect) -> Provider | None:
    try:
        return connect(pod.account)
    except CannotConnect as exc:
        _again(pod, pause(pod.attempts), f"cannot connect: {exc}")
        return None


def _stop(pod: Pod, connect: Connect) -> None:
    provider = _provider(pod, connect)
    if provider is None:
        return
    assert pod.external_id is not None
    try:
        phase = provider.status(pod.external_id).phase
        if phase is Phase.GONE:
            raise NotFound("the provider lists it as ended")
        if phase is Phase.STOPPED:
            lifecycle.move(
                pod, STOPPED, by="teardown", because="the provider says that it is stopped"
            )
            return
        # The pod has drained, so nothing is lost, and a machine that cannot be stopped bills.
        if phase is Phase.FAILED or shared_now() - pod.state_since > STOP_PATIENCE:
            lifecycle.move(
                pod,
                TERMINATING,
                by="teardown",
                because=f"cannot be stopped: the provider says {phase.value}",
            )
            _again(pod, CONFIRM_STEP)
            return
        provider.stop(pod.external_id)
    except NotFound:
        lifecycle.move(
            pod, TERMINATING, by="teardown", because="its machine disappeared while it was stopping"
        )
        _again(pod, CONFIRM_STEP)
        return
    except ProviderError as exc:
        breaker.failed(pod.account, exc)
        _again(pod, pause(pod.attempts), f"stop: {exc}")
        return
    _again(pod, DRAIN_STEP)


def _terminate(pod: Pod, connect: Connect) -> None:
    try:
        fencing.fence(pod)
        fencing.send_command(pod, Command.STOP)
    except Unfenced as exc:
        if shared_now() - pod.state_since < FENCE_PATIENCE:
            _again(pod, DRAIN_STEP, str(exc))
            return
    machine_logs.keep_last_output(pod, connect=connect)
    provider = _provider(pod, connect)
    if provider is None:
        return
    assert pod.external_id is not None
    try:
        machine = _look(provider, pod)
        if machine is not None:
            # If a destroy was accepted, it did not end the machine, so its bill did not end then
            # either. The answer to the next destroy may be lost.
            pod.destroy_asked_at = None
            Pod.objects.filter(pk=pod.pk).update(destroy_asked_at=None)
        # Also if it looks gone: a new machine can be missing from every reading at first.
        if pod.destroy_asked_at is None:
            provider.destroy(pod.external_id)
            pod.destroy_asked_at = shared_now()
            Pod.objects.filter(pk=pod.pk).update(destroy_asked_at=pod.destroy_asked_at)
            breaker.answered(pod.account)
            machine = _look(provider, pod)
    except RateLimited as exc:
        wait = timedelta(seconds=exc.retry_after) if exc.retry_after else pause(pod.attempts)
        _again(pod, wait, f"destroy: {exc}")
        return
    except ProviderError as exc:
        breaker.failed(pod.account, exc)
        _again(pod, pause(pod.attempts), f"destroy: {type(exc).__name__}: {exc}")
        return
    _confirm(pod, provider, present=machine is not None)


def _look(provider: Provider, pod: Pod) -> Machine | None:
    """The machine if `status` or the list still shows it; None if both lack it.

    A machine that was booked as gone and is seen again has billed all along. The ledger is
    corrected at once, because a machine that is destroyed next is never seen again.
    """
    machine = _shown(provider, pod)
    if machine is not None:
        segments.still_there(pod)
    return machine


def _shown(provider: Provider, pod: Pod) -> Machine | None:
    assert pod.external_id is not None
    try:
        machine = provider.status(pod.external_id)
        if machine.phase is not Phase.GONE:
            return machine
    except NotFound:
        pass
    return next(
        (
            m
            for m in provider.list_tagged(pod.tag)
            if m.external_id == pod.external_id and m.phase is not Phase.GONE
        ),
        None,
    )


def _confirm(pod: Pod, provider: Provider, *, present: bool) -> None:
    """Move to TERMINATED once it is proved: absent twice, a consistency window apart."""
    now = shared_now()
    if present:
        Pod.objects.filter(pk=pod.pk).update(absent_since=None)
        _again(pod, max(CONFIRM_STEP, pause(pod.attempts)))
        return
    if pod.absent_since is None:
        Pod.objects.filter(pk=pod.pk).update(absent_since=now)
        _again(pod, max(CONFIRM_STEP, provider.capabilities.consistency_window))
        return
    window = max(CONFIRM_STEP, provider.capabilities.consistency_window)
    born = (pod.asked_at or pod.requested_at) + provider.capabilities.list_lag
    if now - pod.absent_since < window or now < born:
        _again(pod, max(window - (now - pod.absent_since), born - now, CONFIRM_STEP))
        return
    if pod.retire_rule in LOST_RULES:
        lifecycle.move(pod, LOST, by="teardown", because=pod.lost_because)
    else:
        lifecycle.move(
            pod, TERMINATED, by="teardown", because="the provider confirmed that it is gone"
        )
    fencing.forget(pod)


def _again(pod: Pod, wait: timedelta, because: str = "") -> None:
    lifecycle.postpone(pod, by=wait, because=because)
    dispatch.next_step(pod.pk, pod.status, countdown=wait.total_seconds())
