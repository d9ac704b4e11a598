"""Creates the machine of a requested pod, or finds the one that an earlier try created."""

from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from redis import RedisError

from pods import dispatch, lifecycle
from pods.accounts import breaker, connecting, registry_logins
from pods.accounts.connecting import BadSecret, CannotConnect, Connect
from pods.accounts.redis_ca import BadAuthority
from pods.agent_redis import fencing, redis_users
from pods.base import counters
from pods.base.clock import utcnow
from pods.base.key_names import RefusedName
from pods.base.pauses import doubled
from pods.base.shared_clock import shared_now
from pods.costs import segments
from pods.lifecycle import DuplicateMachine
from pods.models import Pod
from pods.plural import plural
from pods.providers.base import Machine, Phase, PodSpec, Provider
from pods.providers.errors import (
    Declined,
    LoginRefused,
    NoCapacity,
    RateLimited,
    Refused,
    TryAgain,
    Unavailable,
)
from pods.rules import PodRule
from pods.states import BOOTING, CREATING, FAILED, REQUESTED, TERMINATING

# Enough to outlast a provider's bad minutes; then the next tick may choose another offer.
TRIES: Final = 5
FIRST_PAUSE: Final = timedelta(seconds=2)
LONGEST_PAUSE: Final = timedelta(minutes=2)
NO_ARGS: Final = "cannot give an image a start command; clear the start command of the fleet"


def pause(attempts: int) -> timedelta:
    """How long to wait before the next try of a step; it doubles with each try."""
    return doubled(FIRST_PAUSE, attempts, longest=LONGEST_PAUSE)


def find_by_token(provider: Provider, pod: Pod) -> Machine | None:
    """The machine that was created with the pod's token; the oldest if there are several (F14).

    Raises:
        ProviderError: the list cannot be read, which says nothing about a machine.
    """
    token = pod.client_token.hex
    found = [
        m for m in provider.list_tagged(pod.tag) if m.token == token and m.phase is not Phase.GONE
    ]
    return min(
        found, key=lambda m: (m.created_at is None, m.created_at, m.external_id), default=None
    )


def spawn_pod(pod_id: int, *, connect: Connect = connecting.connect) -> None:
    """Create the pod's machine, or find the one that an earlier try created.

    Safe to run twice, at the same time, or to be killed at any line: the row says CREATING before
    the provider is asked. Every later try first looks for the token, when the provider's list can
    be trusted to show it.
    """
    with lifecycle.claimed(pod_id) as pod:
        if pod is None or pod.status not in {REQUESTED, CREATING}:
            return
        if pod.external_id is not None:
            # An earlier try ended after it stored its machine's id and before the move.
            _onward(pod)
            return
        first = pod.status is REQUESTED
        if first and not _begun(pod):
            return
        try:
            provider = connect(pod.account)
        except CannotConnect as exc:
            breaker.failed(pod.account, exc)
            if first:
                _give_up(pod, PodRule.CANNOT_CONNECT, str(exc))
            else:
                _later(pod, pause(pod.attempts), str(exc))
            return
        try:
            machine = find_by_token(provider, pod)
        except (Declined, TryAgain) as exc:
            # A failed list says nothing about a create: keep the row and look again.
            breaker.failed(pod.account, exc)
            _later(pod, pause(pod.attempts), f"cannot look for its machine: {exc}")
            return
        if machine is None and not first and not _may_create_again(pod, provider):
            return
        if machine is None:
            machine = _create(pod, provider)
        if machine is not None:
            _record(pod, machine)


def _begun(pod: Pod) -> bool:
    """Whether the pod may be asked for, and then write that this begins; else end the pod."""
    if why := breaker.why_unused(pod.account, now=shared_now()):
        _give_up(pod, PodRule.CANNOT_CONNECT, f"{why}; the provider was not asked")
        return False
    lifecycle.move(pod, CREATING, by="spawn", because="the provider is asked for a machine")
    return True


def _may_create_again(pod: Pod, provider: Provider) -> bool:
    """Whether the list has proved that there is no machine, and another try is wanted."""
    wait = _until_a_look_proves(pod, provider)
    if wait > timedelta(0):
        _later(pod, wait, "waiting until the provider's list can be trusted")
        return False
    if pod.attempts >= TRIES:
        why = f"{plural(pod.attempts, 'try')}: {pod.note}"
        _give_up(pod, PodRule.NO_ANSWER, f"no machine was created; {why}")
        return False
    return True


def _until_a_look_proves(pod: Pod, provider: Provider) -> timedelta:
    """How long until a list without the machine proves that there is none."""
    asked = pod.asked_at or pod.state_since
    return asked + provider.capabilities.list_lag - shared_now()


def _unwanted(pod: Pod) -> bool:
    """End a pod that an operator ended, or whose account was closed, since its claim; whether it is."""
    lifecycle.reread_intent(pod)
    if pod.retire_rule:
        _give_up(pod, PodRule.NO_ANSWER, f"no machine was created; {pod.retire_because}")
        return True
    # Again: the calls before this one may have taken long, or may have opened the breaker.
    if why := breaker.why_unused(pod.account, now=shared_now()):
        _give_up(pod, PodRule.CANNOT_CONNECT, why)
        return True
    return False


def _spec(pod: Pod, provider: Provider) -> PodSpec | None:
    """The machine to ask for, with a Redis user; None where it can have none, or not now."""
    elsewhere = not provider.capabilities.on_this_host
    try:
        address = redis_users.pod_address(pod, elsewhere=elsewhere)
        spec = connecting.spec(pod, redis_url=address)
        if not spec.args or not elsewhere or provider.capabilities.takes_args:
            return spec
        _give_up(pod, PodRule.REFUSED, f"the adapter {provider.name} {NO_ARGS}")
    except BadSecret as exc:
        breaker.failed(pod.account, exc)
        _give_up(pod, PodRule.CANNOT_CONNECT, str(exc))
    except (redis_users.Refused, RefusedName, BadAuthority) as exc:
        _give_up(pod, PodRule.CANNOT_CONNECT, str(exc))
    except RedisError as exc:
        _later(pod, pause(pod.attempts), f"cannot create the pod's Redis user: {exc}")
    return None


def _create(pod: Pod, provider: Provider) -> Machine | None:
    spec = _spec(pod, provider)
    if spec is None:
        return None
    if _unwanted(pod):
        return None
    # Before the call: from now on the new machine can be missing from lists for `list_lag`. The
    # attempt counts before it too, because the call may end this process.
    wait = pause(pod.attempts)
    lifecycle.still_claimed(pod, asked_at=shared_now(), attempts=F("attempts") + 1)
    pod.attempts += 1
    try:
        machine = provider.create(spec, token=pod.client_token.hex)
    except Refused as exc:
        if exc.billing_id is not None:
            _destroy_what_was_refused(pod, exc)
        else:
            _give_up(pod, PodRule.REFUSED, _why_refused(pod, exc))
    except Declined as exc:
        if not isinstance(exc, NoCapacity):
            breaker.failed(pod.account, exc, creating=True)
        _give_up(pod, PodRule(breaker.kind_of(exc).value), f"{type(exc).__name__}: {exc}")
    except RateLimited as exc:
        wait = timedelta(seconds=exc.retry_after) if exc.retry_after else wait
        _later(pod, wait, str(exc), counted=True)
    except Unavailable as exc:
        breaker.failed(pod.account, exc, creating=True)
        _later(pod, max(wait, provider.capabilities.list_lag), f"no answer: {exc}", counted=True)
    else:
        breaker.succeeded(pod.account)
        return machine
    return None


def _why_refused(pod: Pod, error: Refused) -> str:
    if not isinstance(error, LoginRefused):
        return str(error)
    return f"{registry_logins.refused(pod.account, pod.image)}: {error}"


def _record(pod: Pod, machine: Machine) -> None:
    """Store the machine's id first, because it bills whatever else changed; then move the pod."""
    facts: dict[str, Any] = {
        name: value
        for name, value in (
            ("region", machine.region[:80]),
            ("host", machine.host[:120]),
            # What was ordered stays: a health check compares it with what was received.
            ("gpu_type", "" if pod.gpu_type else machine.gpu_type[:80]),
            ("console_url", machine.console_url[:300]),
        )
        if value
    }
    if machine.hourly_usd is not None:
        facts["hourly_usd"] = machine.hourly_usd
    try:
        lifecycle.remember(pod, machine.external_id, **facts)
    except DuplicateMachine as exc:
        _give_up(pod, PodRule.DUPLICATE_MACHINE, str(exc))
        return
    _onward(pod)


def _onward(pod: Pod) -> None:
    """Move the pod to its boot, or to its end if it is no longer wanted.

    The create call took a while: only the row knows what was asked of the pod meanwhile.
    """
    lifecycle.reread_intent(pod)
    if pod.retire_rule:
        lifecycle.move(pod, TERMINATING, by="spawn", because=pod.retire_because)
        dispatch.send(dispatch.TEARDOWN, pod.pk)
    else:
        lifecycle.move(
            pod,
            BOOTING,
            by="spawn",
            because="its machine was created",
            unless_retired=True,
            booted_at=utcnow(),
        )
        counters.took("spawn", (utcnow() - pod.requested_at).total_seconds(), pod.provider)
        dispatch.send(dispatch.CHECK, pod.pk, countdown=FIRST_PAUSE.total_seconds())


def _destroy_what_was_refused(pod: Pod, error: Refused) -> None:
    """Destroy the machine that the provider made and bills for although it refused (F7)."""
    try:
        lifecycle.remember(pod, str(error.billing_id))
    except DuplicateMachine as exc:
        _give_up(pod, PodRule.DUPLICATE_MACHINE, str(exc))
        return
    lifecycle.move(
        pod,
        TERMINATING,
        by="spawn",
        rule=PodRule.REFUSED,
        because=f"the provider refused it but bills for it: {error}",
    )
    dispatch.send(dispatch.TEARDOWN, pod.pk)


def _give_up(pod: Pod, rule: PodRule, because: str) -> None:
    """End the pod without a machine; if it was retired meanwhile, that rule stays."""
    lifecycle.reread_intent(pod)
    rule = PodRule(pod.retire_rule) if pod.retire_rule else rule
    with transaction.atomic():
        lifecycle.move(pod, FAILED, by="spawn", rule=rule, because=because)
        segments.never_billed(pod)
    fencing.forget(pod)


def _later(pod: Pod, wait: timedelta, because: str, *, counted: bool = False) -> None:
    lifecycle.postpone(pod, by=wait, because=because, counted=counted)
    dispatch.send(dispatch.SPAWN, pod.pk, countdown=wait.total_seconds())
