"""The Celery tasks of the supply side; each only calls a verb."""

from datetime import timedelta
from typing import Final

from celery import current_app, shared_task
from django.db.models import Q

from pods import dispatch, health, resuming, spawning, teardown
from pods.agent_redis import consumers, redis_users
from pods.base.shared_clock import shared_now
from pods.models import Account, Pod
from pods.states import PodState

# The message or the worker of a step that is overdue for longer is lost.
NUDGE_AFTER: Final = timedelta(seconds=10)
NUDGE_AGAIN_AFTER: Final = timedelta(seconds=30)
NUDGES_AT_ONCE: Final = 200


@shared_task(name=dispatch.SPAWN)
def spawn(pod_id: int) -> None:
    """Create the machine of a requested pod."""
    spawning.spawn_pod(pod_id)


@shared_task(name=dispatch.CHECK, expires=60)
def check(pod_id: int) -> None:
    """Check one pod that looked ill."""
    health.check_pod(pod_id)


@shared_task(name=dispatch.TEARDOWN)
def teardown_step(pod_id: int) -> None:
    """Do the next step of a pod's end."""
    teardown.teardown_pod(pod_id)


@shared_task(name=dispatch.RESUME)
def resume(pod_id: int) -> None:
    """Run a stopped pod again."""
    resuming.resume_pod(pod_id)


@shared_task(name="pods.sweep", expires=30)
def sweep() -> None:
    """Send a health sweep for each account that has pods, and maintain the pods' Redis users."""
    for account_id in Pod.objects.billable().values_list("account", flat=True).distinct():
        sweep_account.apply_async((account_id,), expires=30)
    redis_users.keep()  # last: a Redis that is gone takes its time


@shared_task(name="pods.sweep_account", expires=30)
def sweep_account(account_id: int) -> None:
    """Look at all pods of an account."""
    health.sweep_account(Account.objects.get(pk=account_id))


@shared_task(name="pods.reconcile", expires=120)
def reconcile() -> None:
    """Send a reconciliation for each account, and remove the consumers of ended pods."""
    for account_id in Account.objects.values_list("pk", flat=True):
        # By name: the task is in fleet/tasks.py, because it needs the values of fleets.
        current_app.send_task(dispatch.RECONCILE, args=(account_id,), expires=120)
    consumers.sweep()  # last: a Redis that is gone takes its time


@shared_task(name="pods.survey", expires=120)
def survey() -> None:
    """Send a survey of the offers for each enabled account."""
    for account_id in Account.objects.filter(enabled=True).values_list("pk", flat=True):
        # By name: the task is in fleet/tasks.py, because it needs what fleets ask for.
        current_app.send_task(dispatch.SURVEY, args=(account_id,), expires=120)


@shared_task(name="pods.nudge", expires=15)
def nudge() -> None:
    """Send the step of each pod again whose message was lost."""
    now = shared_now()
    late = Pod.objects.in_transit().filter(
        Q(claimed_until__isnull=True) | Q(claimed_until__lt=now), due_at__lt=now - NUDGE_AFTER
    )
    for pod_id, state in late.order_by("due_at").values_list("pk", "state")[:NUDGES_AT_ONCE]:
        Pod.objects.filter(pk=pod_id).update(due_at=now + NUDGE_AGAIN_AFTER)
        dispatch.next_step(pod_id, PodState(state))
