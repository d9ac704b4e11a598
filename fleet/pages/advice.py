"""What an operator does about an alert: words, and the buttons that lead to its remedy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.db.models import F
from django.urls import reverse

from fleet.decision.alert_facts import Cause
from fleet.decision.values import Goal, Rule
from fleet.models import Alert, Fleet
from fleet.pages.remedies import FIELDS, Remedy, field_url
from pods.models import Account, Orphan, Pod
from pods.states import READY

CHANGE_FLEET: Final = "fleet.change_fleet"
CHANGE_POD: Final = "pods.change_pod"
CHANGE_ACCOUNT: Final = "pods.change_account"
FLEETS_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an alert is about; the rest is None."""

    fleet: Fleet | None
    pod: Pod | None = None
    account: Account | None = None
    orphan: Orphan | None = None
    which: str = ""  # of two budgets: "today" or "total"


Step = Callable[[About], Sequence[Remedy]]


def about(alert: Alert) -> About:
    """The rows that the alert is about, as far as they are still there. At most two queries."""
    kind, _, rest = alert.subject.partition(":")
    number, _, which = rest.partition(":")
    pk = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    found: dict[str, Any] = {}
    if kind == "pod":
        found["pod"] = Pod.objects.select_related("fleet", "account").filter(pk=pk).first()
    elif kind == "account":
        found["account"] = Account.objects.defer("offers").filter(pk=pk).first()
    elif kind == "orphan":
        found["orphan"] = Orphan.objects.select_related("account").filter(pk=pk).first()
    return About(fleet=alert.fleet, which=which, **found)


def _field(name: str, text: str) -> Step:
    """The button that leads to a field of the fleet's form."""

    def step(seen: About) -> Sequence[Remedy]:
        if seen.fleet is None:
            return ()
        url = field_url(seen.fleet.pk, name)
        return [Remedy(url=url, text=text, permission=CHANGE_FLEET)]

    return step


def last_log(seen: About) -> Sequence[Remedy]:
    """The log of the fleet's newest pod that failed; if none did, of its newest that works."""
    if seen.fleet is None:
        return ()
    its = Pod.objects.filter(fleet=seen.fleet)
    pod = its.filter(failed_at__isnull=False).order_by("-failed_at").first()
    pod = pod or its.filter(state=READY.value).order_by("-requested_at").first()
    return [_log(pod)] if pod else []


def working_log(seen: About) -> Sequence[Remedy]:
    """The log of the fleet's newest pod that works; if none does, of the last that failed."""
    if seen.fleet is None:
        return ()
    ready = Pod.objects.filter(fleet=seen.fleet, state=READY.value).order_by("-requested_at")
    pod = ready.first()
    return [_log(pod)] if pod else last_log(seen)


def _log(pod: Pod) -> Remedy:
    return Remedy(url=reverse("admin:pods_pod_logs", args=[pod.pk]), text="Open last log")


def pause(seen: About) -> Sequence[Remedy]:
    """Start no new pods."""
    if seen.fleet is None or seen.fleet.mode != "running":
        return ()
    return [
        Remedy(
            url=reverse("fleet-mode", args=[seen.fleet.pk]), text=f"Pause {seen.fleet.name}",
            fields={"mode": "paused"}, permission=CHANGE_FLEET,
        )
    ]  # fmt: skip


def run_again(seen: About) -> Sequence[Remedy]:
    """Let the fleet run: what failed before no longer counts."""
    if seen.fleet is None:
        return ()
    return [
        Remedy(
            url=reverse("fleet-mode", args=[seen.fleet.pk]), text="Run it again",
            fields={"mode": "running"}, permission=CHANGE_FLEET,
        )
    ]  # fmt: skip


def edit_secrets(seen: About) -> Sequence[Remedy]:
    """The secrets of the fleet."""
    if seen.fleet is None:
        return ()
    page = reverse("admin:fleet_fleet_secrets", args=[seen.fleet.pk])
    return [Remedy(url=page, text="Open secrets")]


def preview(seen: About) -> Sequence[Remedy]:
    """What the next tick would do."""
    if seen.fleet is None:
        return ()
    return [Remedy(url=reverse("fleet-next", args=[seen.fleet.pk]), text="Preview next tick")]


def raise_budget(seen: About) -> Sequence[Remedy]:
    """The budget that is spent: of the day, of the fleet's life, or of all fleets."""
    if seen.fleet is None:
        return installation_limits(seen)
    total = seen.which == "total"
    name, text = ("total_budget_usd", "total budget") if total else ("daily_budget_usd", "budget")
    return _field(name, f"Raise {text}")(seen)


def raise_goal_budget(seen: About) -> Sequence[Remedy]:
    """The budget of the fleet's goal, or that of its whole life."""
    by_goal = seen.fleet is not None and seen.fleet.goal == Goal.BUDGET.value
    name = "budget_usd" if by_goal else "total_budget_usd"
    return _field(name, "Raise the budget")(seen)


def installation_limits(_seen: About) -> Sequence[Remedy]:
    """The limits of all fleets."""
    page = reverse("admin:fleet_limits_changelist")
    return [Remedy(url=page, text="Limits of all fleets", permission="fleet.change_limits")]


def replace_key(seen: About) -> Sequence[Remedy]:
    """The key of the account."""
    if seen.account is None:
        return ()
    page = reverse("admin:pods_account_change", args=[seen.account.pk])
    return [Remedy(url=f"{page}#id_key", text="Replace key", permission=CHANGE_ACCOUNT)]


def test_key(seen: About) -> Sequence[Remedy]:
    """A call to the vendor, now."""
    if seen.account is None:
        return ()
    fields = {"action": "check_key", "_selected_action": str(seen.account.pk)}
    page = reverse("admin:pods_account_changelist")
    return [Remedy(url=page, text="Test now", fields=fields, permission=CHANGE_ACCOUNT)]


def console(seen: About) -> Sequence[Remedy]:
    """The machine of the pod at its vendor."""
    url = seen.pod.console_url if seen.pod else ""
    if not url.startswith("https://"):
        return ()
    return [Remedy(url=url, text="Open vendor console", away=True)]


def destroy_again(seen: About) -> Sequence[Remedy]:
    """The next try to destroy, now."""
    return _of_pod(seen, "destroy_again", "Destroy again")


def destroy(seen: About) -> Sequence[Remedy]:
    """The end of the pod; it asks first."""
    return _of_pod(seen, "destroy", "Destroy…")


def _of_pod(seen: About, action: str, text: str) -> Sequence[Remedy]:
    if seen.pod is None:
        return ()
    fields = {"action": action, "_selected_action": str(seen.pod.pk)}
    page = f"{reverse('admin:pods_pod_changelist')}?billing=all"
    return [Remedy(url=page, text=text, fields=fields, permission=CHANGE_POD)]


def open_pod(seen: About) -> Sequence[Remedy]:
    """The page of the pod."""
    if seen.pod is None:
        return ()
    return [Remedy(url=reverse("admin:pods_pod_change", args=[seen.pod.pk]), text="Open the pod")]


def unknown_machines(_seen: About) -> Sequence[Remedy]:
    """The list with its buttons to adopt and to destroy."""
    return [Remedy(url=reverse("admin:pods_orphan_changelist"), text="See unknown machines")]


def failed_items(seen: About) -> Sequence[Remedy]:
    """The failed items of the fleet, by error."""
    if seen.fleet is None:
        return ()
    page = reverse("admin:fleet_fleet_dead", args=[seen.fleet.pk])
    return [Remedy(url=page, text="Failed items by error")]


def schedule(seen: About) -> Sequence[Remedy]:
    """The periodic task that decides on the fleet."""
    if seen.fleet is None or seen.fleet.schedule_id is None:
        return ()
    page = "admin:django_celery_beat_periodictask_change"
    url = reverse(page, args=[seen.fleet.schedule_id])
    needed = "django_celery_beat.view_periodictask"
    return [Remedy(url=url, text="Its background job", permission=needed)]


def top_up(seen: About) -> Sequence[Remedy]:
    """The vendor's site, as the console of a pod of the account gives it."""
    pods = Pod.objects.filter(account=seen.account, console_url__startswith="https://")
    url = pods.order_by("-pk").values_list("console_url", flat=True).first()
    if seen.account is None or not url:
        return ()
    host = urlsplit(url).netloc
    return [Remedy(url=f"https://{host}/", text="Top up at the vendor", away=True)]


def stop_fleets(seen: About) -> Sequence[Remedy]:
    """The fleets that spend the most on the account; each asks first."""
    if seen.account is None:
        return ()
    rows = (
        Pod.objects.billable().filter(account=seen.account).order_by("-hourly_usd")
        .values_list(F("fleet"), F("fleet__name"))
    )  # fmt: skip
    named = dict(list(dict.fromkeys(rows))[:FLEETS_NAMED])
    page = reverse("admin:fleet_fleet_changelist")
    return [
        Remedy(
            url=page, text=f"Stop {name}…", permission=CHANGE_FLEET,
            fields={"action": "stop_everything", "_selected_action": str(pk)},
        )
        for pk, name in named.items()
    ]  # fmt: skip


def undo_stop(_seen: About) -> Sequence[Remedy]:
    """The page that undoes the stop."""
    url = reverse("stop-everything")
    return [Remedy(url=url, text="Undo the stop…", permission=CHANGE_FLEET)]


edit_handler: Final = _field("handler", "Edit handler")
edit_wish: Final = _field(FIELDS[Rule.NO_OFFERS], "Edit what to rent")
edit_address: Final = _field("backlog_url", "Fix address")
raise_price: Final = _field("max_hourly_usd", "Raise $/h limit")
raise_pods: Final = _field("max_instances", "Raise Max pods")
tolerate_more: Final = _field("tolerated_failure_percent", "Tolerate more")
raise_age: Final = _field("alert_after_hours", "Alert later")
BUDGET: Final = (
    "At the end of a budget the fleet ends its pods while there is still money to end them. Raise "
    "it, or wait: a budget per day begins again at midnight UTC.",
    (raise_budget, preview),
)
# What to do, in words, and the buttons. Docs: docs/howto/answer-an-alert.md.
ADVICE: Final[Mapping[Cause, tuple[str, Sequence[Step]]]] = {
    Cause.BOOTS_FAIL: (
        "Read the last log: it says why the pod failed. Correct the handler or the image, or pause "
        "the fleet until you have. A change of the handler tries a pod at once.",
        (last_log, edit_handler, pause),
    ),
    Cause.ALL_FAIL: (
        "Read the log of a pod that works on it. Correct the handler, its service or the items. The "
        "pods try an item now and then, and go on when one succeeds.",
        (working_log, edit_handler, failed_items, pause),
    ),
    Cause.ROWS_FAIL: (
        "The text has three of the errors. Correct the handler or the input, then run the fleet "
        "again: the failed rows are counted from then on. Or tolerate more.",
        (edit_handler, run_again, tolerate_more),
    ),
    Cause.KEYS_NOT_ISSUED: (
        "The text has the reason. Correct the role, its trust policy or the address of STS, each of "
        "which is a secret of the fleet. The manager asks again each minute.",
        (edit_secrets,),
    ),
    Cause.NOT_DRAINED: (
        "Pods are ready and the backlog does not fall. Usual reasons: the handler hangs, Redis is "
        "full, or a batch takes over ten minutes.",
        (working_log, edit_handler, pause),
    ),
    Cause.CEILING: (
        "The limit does what it is for. Raise it if the work is worth it: of this fleet, or of all "
        "fleets, whichever holds. Or rent cheaper machines.",
        (raise_price, installation_limits, edit_wish, preview),
    ),
    Cause.BUDGET_50: BUDGET,
    Cause.BUDGET_80: BUDGET,
    Cause.BUDGET_100: BUDGET,
    Cause.CREDENTIALS: (
        "The vendor refuses the key, so pods there can be neither rented nor ended. Replace the key "
        "now; it is tried before it is saved.",
        (replace_key, test_key),
    ),
    Cause.CIRCUIT_OPEN: (
        "Nothing is rented there for a while; pods that run are not touched. A fault of the vendor "
        "passes by itself. For a quota, pay in or ask the vendor for more.",
        (test_key, replace_key),
    ),
    Cause.DESTROY_FAILS: (
        "The machine bills until it is gone, and the manager never gives up. Try again now, or end "
        "it in the vendor's console: the manager then sees that it is gone.",
        (console, destroy_again, open_pod),
    ),
    Cause.ORPHAN: (
        "A machine with our tag bills and belongs to no pod. The manager gives it a row by itself "
        "and ends or adopts it, as its account says. If it stays, adopt or destroy it yourself.",
        (unknown_machines,),
    ),
    Cause.DEAD_LETTERS: (
        "See which errors they have. Correct the handler, retry 20, then all of an error; delete "
        "what is of no use.",
        (failed_items, edit_handler),
    ),
    Cause.NO_TICK: (
        "Nothing decides on this fleet: its pods stay as they are. Do beat and the workers run? "
        "Read their logs, and see whether its background job is switched on.",
        (schedule, preview),
    ),
    Cause.BALANCE_LOW: (
        "When the balance is used up, the vendor may stop your pods. Pay in, or stop what can wait.",
        (top_up, stop_fleets),
    ),
    Cause.POD_OLD: (
        "Does it finish items? If so, acknowledge, or let the alert come later. If it does nothing, "
        "destroy it.",
        (open_pod, destroy, raise_age),
    ),
    Cause.NO_PODS: (
        "The text says why no machine came: no offer fits, a limit holds, or the vendor refuses. "
        "Change what to rent or the limit, or add an account.",
        (edit_wish, raise_price, preview),
    ),
    Cause.BACKLOG_UNKNOWN: (
        "No pod starts and no idle one ends while the backlog is unknown. Does its server run, and "
        "may this host reach it?",
        (edit_address, pause),
    ),
    Cause.BACKLOG_GROWS: (
        "All pods work, and still more items come than go. Allow more pods, rent faster machines, "
        "or accept it.",
        (raise_pods, edit_wish, preview),
    ),
    Cause.GOAL_AT_RISK: (
        "The fleet cannot promise its goal. Allow more pods, give it more time or money, or accept it.",
        (raise_pods, edit_wish, preview),
    ),
    Cause.BUDGET_SHORT: (
        "By the forecast the money ends before the items. Add money, rent cheaper offers, or accept "
        "that the rest waits.",
        (raise_goal_budget, edit_wish, preview),
    ),
    Cause.REDIS_EVICTS: (
        "A full Redis deletes items and fences by itself. Set its maxmemory-policy to noeviction.",
        (edit_address,),
    ),
    Cause.STOPPED: (
        "Nobody should forget a stop. When its reason is gone, undo it: each fleet goes on in its "
        "own mode.",
        (undo_stop,),
    ),
}  # fmt: skip


def words_of(cause: str) -> str:
    """What to do, in words; for a cause of a later version nothing."""
    return ADVICE[Cause(cause)][0] if cause in set(Cause) else ""


def remedies_of(alert: Alert) -> Sequence[Remedy]:
    """The buttons that lead to the alert's remedy. A few queries: for a page about one alert."""
    if alert.cause not in set(Cause):
        return ()
    seen = about(alert)
    return [remedy for step in ADVICE[Cause(alert.cause)][1] for remedy in step(seen)]
