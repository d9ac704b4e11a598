"""Why pods end and how accounts fail, as values that code may compare. Pure.

The texts beside them (`because`, `retire_because`, `last_error`) are for people; no code reads them.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Final


class PodRule(StrEnum):
    """Why a pod was requested, or why it ends."""

    # A decision or a person asked for it.
    WANTED = "wanted"
    ADOPTED = "adopted"  # its machine was found without a row

    # Its health check found this: the values of pods.diagnosis.Finding.
    NEVER_BOOTED = "never_booted"
    AGENT_FAILED = "agent_failed"
    AGENT_ENDED = "agent_ended"
    MACHINE_FAILED = "machine_failed"
    STOPPED_UNASKED = "stopped_unasked"
    STARTED_UNASKED = "started_unasked"
    ABSENT = "absent"
    SILENT = "silent"
    HUNG = "hung"
    FAILING = "failing"
    NOT_AS_ORDERED = "not_as_ordered"

    # A decision retired it.
    STOP_ALL = "stop_all"
    PAUSED = "paused"
    SAMPLE = "sample"  # the pod that measured for a quote
    MAX_INSTANCES = "max_instances"
    MAX_HOURLY_USD = "max_hourly_usd"
    DAILY_BUDGET_USD = "daily_budget_usd"
    TOTAL_BUDGET_USD = "total_budget_usd"
    INSTALLATION_DAILY_BUDGET = "installation_daily_budget"
    BUDGET_USD = "budget_usd"
    GOAL = "goal"  # the plan of the fleet's goal has another pod do its work
    TOLERATED_FAILURE_PERCENT = "tolerated_failure_percent"
    IDLE = "idle"
    STRAGGLER = "straggler"
    MAX_POD_HOURS = "max_pod_hours"
    OLD_CODE = "old_code"
    STOPPED = "stopped"  # a stopped pod that exceeds a budget or the pod limit
    MAX_STOPPED_HOURS = "max_stopped_hours"

    # It did not get a machine.
    NO_CAPACITY = "no_capacity"
    QUOTA_EXCEEDED = "quota_exceeded"
    AUTH_FAILED = "auth_failed"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"  # after several tries
    CANNOT_CONNECT = "cannot_connect"
    DUPLICATE_MACHINE = "duplicate_machine"  # the provider returned the id of another row

    CANNOT_RESUME = "cannot_resume"
    OPERATOR = "operator"
    ORPHAN = "orphan"  # its machine had no row; the row was made to end it
    OTHER = "other"  # an old version without rules ended it, and its text does not say why


# A pod cannot be ended if it is not gone after so many tries and so long. Five tries with their pauses
# take at least a minute. A slow vendor needs a few minutes to destroy.
DESTROY_TRIES: Final = 5
DESTROY_PATIENCE: Final = timedelta(minutes=5)
# The provider ended the machine: such a pod ends as LOST.
LOST_RULES: Final = frozenset({PodRule.ABSENT, PodRule.MACHINE_FAILED, PodRule.STOPPED_UNASKED})
# We only infer that the pod is ill, and may be wrong, so S15 rations these.
INFERRED_RULES: Final = frozenset(
    {PodRule.SILENT, PodRule.HUNG, PodRule.FAILING, PodRule.STRAGGLER}
)
# The machine was at fault, not the work.
BROKEN_RULES: Final = frozenset(
    {
        PodRule.NEVER_BOOTED,
        PodRule.MACHINE_FAILED,
        PodRule.SILENT,
        PodRule.HUNG,
        PodRule.FAILING,
        PodRule.STRAGGLER,
        PodRule.NOT_AS_ORDERED,
    }
)
# If a pod ends by one of these before it has finished an item, the next pod of its template would most
# likely end in the same way.
TRY_RULES: Final = frozenset(
    {
        PodRule.NEVER_BOOTED,
        PodRule.AGENT_FAILED,
        PodRule.AGENT_ENDED,
        PodRule.MACHINE_FAILED,
        PodRule.STOPPED_UNASKED,
        PodRule.ABSENT,
        PodRule.SILENT,
        PodRule.HUNG,
        PodRule.FAILING,
        PodRule.STRAGGLER,
        PodRule.NOT_AS_ORDERED,
        PodRule.REFUSED,
    }
)
# Of an interruptible machine these say that it was taken away, which says nothing about the template.
TAKEN_RULES: Final = frozenset({PodRule.AGENT_ENDED, PodRule.STOPPED_UNASKED, PodRule.ABSENT})
# The agent gave up: the work may be at fault, or the host (a driver that is too old).
GAVE_UP_RULES: Final = frozenset({PodRule.AGENT_FAILED, PodRule.AGENT_ENDED})
# The offer was at fault. A refused key or a lack of money says nothing about the offer.
OFFER_RULES: Final = frozenset(
    {
        PodRule.NO_CAPACITY,
        PodRule.NOT_FOUND,
        PodRule.REFUSED,
        PodRule.DECLINED,
        PodRule.NO_ANSWER,
        PodRule.DUPLICATE_MACHINE,
    }
)

# It got no machine, for whatever reason.
NO_MACHINE_RULES: Final = OFFER_RULES | {
    PodRule.AUTH_FAILED,
    PodRule.QUOTA_EXCEEDED,
    PodRule.CANNOT_CONNECT,
}
# How pods end that failed, or that got no machine.
FAILED_BY: Final = sorted(rule.value for rule in TRY_RULES | NO_MACHINE_RULES)


class ErrorKind(StrEnum):
    """How the last call of an account failed."""

    NO_CAPACITY = "no_capacity"
    QUOTA_EXCEEDED = "quota_exceeded"
    AUTH_FAILED = "auth_failed"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    DECLINED = "declined"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    BAD_SECRET = "bad_secret"  # noqa: S105 - a word, not a secret
    CANNOT_CONNECT = "cannot_connect"
    OTHER = "other"


class MachineOutcome(StrEnum):
    """What became of a machine of ours that had no row, or of the last try."""

    ADOPTED = "adopted"
    ENDING = "ending"  # it got a row that ends it
    GONE = "gone"  # or has a row of somebody else's making
    NOT_ADOPTED = "not_adopted"  # an operator asked for it, and it cannot be done
    DESTROY_ASKED = "destroy_asked"  # of the vendor, which has not confirmed it
    DESTROY_FAILED = "destroy_failed"  # it is tried again


CREDENTIALS_REFUSED: Final = frozenset({ErrorKind.AUTH_FAILED, ErrorKind.BAD_SECRET})
