"""The Celery tasks of the demand side; each only calls a verb."""

import structlog
from celery import shared_task

from fleet import forecasting, retention, shadowing
from fleet.alerts import delivering, reconciling
from fleet.batches import advancing
from fleet.datasets import finishing
from fleet.money import balances
from fleet.secrets import renewing
from fleet.tick import requesting, ticking, wishes
from pods import dispatch
from pods import reconciling as pods_reconciling
from pods.accounts import observing, surveying
from pods.accounts.connecting import CannotConnect
from pods.models import Account
from pods.providers.errors import ProviderError

log = structlog.get_logger(__name__)


@shared_task(name="fleet.tick", soft_time_limit=25, time_limit=30)
def tick(fleet_id: int) -> None:
    """Decide once for a fleet. The fleet's schedule sends it with `expires` below its period."""
    ticking.tick_fleet(fleet_id)


@shared_task(name="fleet.alert", expires=15)
def alert() -> None:
    """Open, announce and end alerts."""
    reconciling.reconcile_alerts()


@shared_task(name="fleet.prune", expires=3600)
def prune() -> None:
    """Delete rows that are older than the settings allow."""
    retention.prune()


@shared_task(name=delivering.DELIVER)
def deliver(channel_id: int) -> None:
    """Send the deliveries that are due on a channel; a failed one is due again later."""
    delivering.deliver(channel_id)


@shared_task(name=dispatch.RECONCILE, expires=120)
def reconcile_account(account_id: int) -> None:
    """Compare an account's machines with the rows; a machine without one gets a row of its fleet."""
    try:
        pods_reconciling.reconcile_account(
            Account.objects.get(pk=account_id),
            template_of=requesting.template_of,
            adopts=requesting.adopts,
        )
    except (ProviderError, CannotConnect) as exc:
        log.warning("reconcile_failed", account=account_id, because=str(exc))


@shared_task(name=dispatch.SURVEY, expires=120)
def survey_account(account_id: int) -> None:
    """Ask an account's provider for the machines that its fleets ask for, and for its market.

    What it found is kept as the observed market.
    """
    account = Account.objects.get(pk=account_id)
    wishes.keep_wishes(account)
    surveying.survey_account(account)
    observing.observe(account)


# In the queue of the messages, so that it never waits before a tick or a vendor's call.
@shared_task(name="fleet.forecast", expires=60, soft_time_limit=60, time_limit=70)
def forecast() -> None:
    """Make the forecasts that are due, for some seconds."""
    forecasting.forecast_fleets()


# As the forecasts.
@shared_task(name="fleet.shadow", expires=60, soft_time_limit=60, time_limit=70)
def shadow() -> None:
    """Let the shadows of fleets read the new ticks, for some seconds."""
    shadowing.go_on()


# As the forecasts: a store that does not answer holds up no tick.
@shared_task(name="fleet.issue_keys", expires=60, soft_time_limit=60, time_limit=70)
def issue_keys() -> None:
    """Ask STS for the keys of fleets that are due, for some seconds."""
    renewing.renew_keys()


@shared_task(name="fleet.finish_datasets", expires=60)
def finish_datasets() -> None:
    """Send a task for each dataset that may be complete."""
    for dataset_id in finishing.unfinished():
        finish_dataset.apply_async((dataset_id,), expires=60)


# Below the lease of a claim, as every task: the broker gives it to another worker after ten minutes.
@shared_task(name="fleet.finish_dataset", expires=60, soft_time_limit=110, time_limit=130)
def finish_dataset(dataset_id: int) -> None:
    """Write the manifest and `_SUCCESS` of a dataset, if it is complete."""
    finishing.finish_dataset(dataset_id)


@shared_task(name="fleet.read_balances", expires=900)
def read_balances() -> None:
    """Send a task for each enabled account that reads its balance."""
    for account_id in Account.objects.filter(enabled=True).values_list("pk", flat=True):
        read_balance.apply_async((account_id,), expires=900)


@shared_task(name="fleet.read_balance", expires=900)
def read_balance(account_id: int) -> None:
    """Ask an account's vendor how much money is left."""
    balances.read_balance(Account.objects.get(pk=account_id))


@shared_task(name="fleet.advance_batches", expires=30)
def advance_batches() -> None:
    """Send a task for each batch that has not ended."""
    for batch_id in advancing.unfinished():
        advance_batch.apply_async((batch_id,), expires=30)


@shared_task(name="fleet.advance_batch", expires=30, soft_time_limit=110, time_limit=130)
def advance_batch(batch_id: int) -> None:
    """Check, feed or collect a batch of requests for some seconds."""
    advancing.advance(batch_id)


@shared_task(name="fleet.clean_up_batches", expires=300)
def clean_up_batches() -> None:
    """Remove late results, and batches and files whose time is over."""
    advancing.clean_up()
