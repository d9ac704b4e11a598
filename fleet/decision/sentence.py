"""A decision in one sentence that an operator understands. Pure."""

from collections import Counter
from datetime import timedelta

from fleet.decision.values import Decision, Rule, Step
from pods.plural import plural


def seconds_text(time: timedelta) -> str:
    """`90 s`."""
    return f"{time.total_seconds():.0f} s"


def hours_text(time: timedelta) -> str:
    """`6 h`, `0.5 h`."""
    return f"{time / timedelta(hours=1):g} h"


def sentence(decision: Decision) -> str:
    """What the tick does, why, and which limit keeps the number of pods below the wish."""
    wish = decision.steps[0]
    parts = [_doing(decision), _wanting(wish)]
    if decision.binding:
        binding = next(s for s in decision.steps if s.rule is decision.binding)
        parts.append(f"limited to {binding.after} because {binding.because}")
    if decision.trouble and decision.binding is not Rule.BRAKE:
        parts.append(decision.trouble)
    return "; ".join(parts)


def _doing(decision: Decision) -> str:
    done: list[str] = []
    if decision.spawn:
        done.append(f"starts {plural(len(decision.spawn), 'pod')}{_chosen(decision)}")
    if decision.resume:
        why = decision.resume[0].because
        done.append(f"resumes {plural(len(decision.resume), 'pod')} ({why})")
    if decision.retire:
        causes = Counter(r.because for r in decision.retire)
        cause, _ = causes.most_common(1)[0]
        done.append(f"retires {plural(len(decision.retire), 'pod')} ({cause})")
    if not done:
        return f"keeps {plural(decision.active, 'pod')}"
    return f"has {plural(decision.active, 'pod')}, {' and '.join(done)}"


def _chosen(decision: Decision) -> str:
    """Why the first of the new pods is rented on its offer."""
    because = decision.spawn[0].because
    return f" ({because})" if because else ""


def _wanting(wish: Step) -> str:
    if wish.rule is Rule.UNKNOWN:
        return f"the backlog is unknown ({wish.because}), so nothing changes"
    if wish.rule is Rule.DEMAND:
        return f"the backlog needs {plural(wish.after, 'pod')} ({wish.because})"
    return wish.because
