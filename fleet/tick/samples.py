"""The sample of a quote, as a tick sees it: its limits hold, and it ends, whatever became of who asked.

All that is known of a sample is in its row. Its time is over without anybody noting that.
"""

from dataclasses import replace

import structlog

from fleet.decision.sampling import is_enough
from fleet.models import Fleet, Limits, SampleRun
from fleet.tick.gathering import Gathered
from fleet.tick.policies import policy_of

log = structlog.get_logger(__name__)


def watch(fleet: Fleet, gathered: Gathered) -> Gathered:
    """Note how far the fleet's sample is, and end it in time; the facts, with the policy that is left.

    Safe to kill at any line: the next tick sees the same pods and does the same.
    """
    run: SampleRun | None = getattr(fleet, "sample_run", None)
    if run is None or run.finished_at is not None:
        return gathered
    now, before = gathered.seen.now, (run.done, run.stopped_at)
    run.done = max(run.done, _done(run, gathered))
    ended = not run.measures(now, fleet.version)
    if run.stopped_at is None and (ended or _is_enough(run, gathered)):
        run.stopped_at = now
        log.info("sample_stopped", fleet=fleet.name, done=run.done)
    if run.stopped_at is not None and (not run.ends_pods or not gathered.pods):
        run.finished_at = now
    if (run.done, run.stopped_at) != before or run.finished_at is not None:
        # The columns of a tick alone. Who asked may have ended it meanwhile: that moment stays.
        mine = SampleRun.objects.filter(pk=run.pk, finished_at=None)
        mine.update(done=run.done, finished_at=run.finished_at)
        mine = SampleRun.objects.filter(pk=run.pk, stopped_at=None)
        mine.update(stopped_at=run.stopped_at)
    return replace(gathered, policy=policy_of(fleet, Limits.get(), now))


def _done(run: SampleRun, gathered: Gathered) -> int:
    """The items that the pods since its beginning have finished."""
    since = [p for p in gathered.pods.values() if p.requested_at >= run.began_at]
    return sum(max(pod.done, gathered.finished.get(pod.pk, 0)) for pod in since)


def _is_enough(run: SampleRun, gathered: Gathered) -> bool:
    seconds = gathered.policy.tick.total_seconds()
    rate = gathered.seen.items_per_second
    return is_enough(done=run.done, wanted=run.items, items_per_second=rate, seconds=seconds)
