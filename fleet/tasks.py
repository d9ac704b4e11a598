"""The Celery tasks of the demand side: a way in to the verbs, and nothing else."""

from celery import shared_task

from fleet import ticking


@shared_task(name="fleet.tick", soft_time_limit=25, time_limit=30)
def tick(fleet_id: int) -> None:
    """Decide once on a fleet. The schedule of each fleet gives it `expires`, below its period."""
    ticking.tick_fleet(fleet_id)
