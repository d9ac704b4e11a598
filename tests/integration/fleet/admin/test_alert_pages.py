"""The inbox and the page of an alert: buttons, tabs, what to do, and who was told."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from fleet.admin.alerts import TABS
from fleet.alerts import answering, delivering
from fleet.decision.alert_facts import Cause
from fleet.models import Alert, Channel, Delivery, Fleet
from fleet.pages import advice
from fleet.pages.advice import ADVICE
from pods.base.clock import utcnow
from pods.models import Orphan, Pod, PodEvent
from pods.states import READY, TERMINATED, TERMINATING
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, an_account, an_alert, hours, seconds

pytestmark = pytest.mark.django_db
INBOX = reverse("admin:fleet_alert_changelist")
OF_ACCOUNTS = {Cause.CREDENTIALS, Cause.CIRCUIT_OPEN, Cause.BALANCE_LOW}
OF_PODS = {Cause.POD_OLD, Cause.DESTROY_FAILS}


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def page_of(client: Client, alert: Alert) -> str:
    page = client.get(reverse("admin:fleet_alert_change", args=[alert.pk]))
    return " ".join(page.content.decode().split())


def texts(alert: Alert) -> list[str]:
    return [remedy.text for remedy in advice.remedies_of(alert)]


def alert_of(cause: Cause) -> Alert:
    """An alert of this cause, with the rows that it is about."""
    fleet = a_fleet(name="emb")
    console = "https://console.vendor.example/pods/1"
    pod = a_pod(fleet, TERMINATING, console_url=console)
    a_pod(fleet, TERMINATED, failed_at=utcnow())
    subject = f"fleet:{fleet.pk}"
    if cause in OF_PODS:
        subject = f"pod:{pod.pk}"
    elif cause in OF_ACCOUNTS:
        subject = f"account:{pod.account_id}"
    elif cause is Cause.ORPHAN:
        now = utcnow()
        orphan = Orphan.objects.create(
            account=pod.account, external_id="m1", name="m", first_seen_at=now, last_seen_at=now
        )
        subject = f"orphan:{orphan.pk}"
    elif cause is Cause.STOPPED:
        subject = "installation"
    about_fleet = cause not in OF_ACCOUNTS | {Cause.ORPHAN, Cause.STOPPED}
    return an_alert(fleet if about_fleet else None, cause=cause.value, subject=subject)  # type: ignore[arg-type]


EXPECTED = {
    Cause.BOOTS_FAIL: ["Open last log", "Edit handler", "Pause emb"],
    Cause.ALL_FAIL: ["Open last log", "Edit handler", "Failed items by error", "Pause emb"],
    Cause.CEILING: [
        "Raise $/h limit", "Limits of all fleets", "Edit what to rent", "Preview next tick"
    ],
    Cause.BUDGET_100: ["Raise budget", "Preview next tick"],
    Cause.CREDENTIALS: ["Replace key", "Test now"],
    Cause.CIRCUIT_OPEN: ["Test now", "Replace key"],
    Cause.DESTROY_FAILS: ["Open vendor console", "Destroy again", "Open the pod"],
    Cause.DEAD_LETTERS: ["Failed items by error", "Edit handler"],
    Cause.NO_TICK: ["Its background job", "Preview next tick"],
    Cause.BALANCE_LOW: ["Top up at the vendor", "Stop emb…"],
    Cause.STOPPED: ["Undo the stop…"],
}  # fmt: skip


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words_and_buttons_that_lead_somewhere(
    admin_client: Client, cause: Cause
) -> None:
    alert = alert_of(cause)
    words, _ = ADVICE[cause]
    page = page_of(admin_client, alert)
    assert words in page.replace("&#x27;", "'")
    found = advice.remedies_of(alert)
    assert texts(alert) == EXPECTED.get(cause, texts(alert))
    assert found
    for remedy in found:
        assert remedy.text in page
        address = urlsplit(remedy.url)
        if remedy.away:
            assert address.netloc == "console.vendor.example"
        elif not remedy.fields:
            answer = admin_client.get(remedy.url, follow=True)
            assert answer.status_code == 200, remedy
            if address.fragment:
                assert f'id="{address.fragment}"' in answer.content.decode(), remedy


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_does_without_the_rows_that_it_was_about(cause: Cause) -> None:
    alert = an_alert(None, cause=cause.value, subject="pod:99999999999999999999")  # type: ignore[arg-type]
    advice.remedies_of(alert)
    alert.cause = "of_a_later_version"
    assert (advice.remedies_of(alert), advice.words_of(alert.cause)) == ((), "")


@pytest.mark.parametrize("cause", list(Cause))
def test_a_viewer_sees_what_to_do_and_no_button(cause: Cause) -> None:
    alert, viewer = alert_of(cause), a_user("viewer")
    page = page_of(viewer, alert).partition("What to do")[2].partition("All facts")[0]
    assert "<button" not in page
    assert ADVICE[cause][0] in page.replace("&#x27;", "'")
    inbox = viewer.get(INBOX).content.decode()
    assert "formaction" not in inbox
    for name in ("alert-answer", "alert-snooze"):
        args = [alert.pk] if name == "alert-answer" else [alert.pk, 8]
        assert viewer.post(reverse(name, args=args)).status_code == 403


def test_a_budget_of_a_life_and_of_all_fleets_lead_to_their_own_field() -> None:
    fleet = a_fleet()
    total = an_alert(fleet, cause="budget_100", subject=f"fleet:{fleet.pk}:total")
    assert advice.remedies_of(total)[0].url.endswith("#id_total_budget_usd")
    today = an_alert(fleet, cause="budget_100", subject=f"fleet:{fleet.pk}:today")
    assert advice.remedies_of(today)[0].url.endswith("#id_daily_budget_usd")
    every = an_alert(None, cause="budget_100", subject="installation")  # type: ignore[arg-type]
    assert texts(every) == ["Limits of all fleets"]


def test_the_buttons_of_an_alert_pause_destroy_again_and_ask_before_a_stop(
    operator: Client,
) -> None:
    def press(alert: Alert, text: str) -> Any:
        remedy = next(r for r in advice.remedies_of(alert) if r.text == text)
        return operator.post(remedy.url, dict(remedy.fields), follow=True)

    alert = alert_of(Cause.DESTROY_FAILS)
    pod = Pod.objects.get(pk=alert.subject.partition(":")[2])
    Pod.objects.filter(pk=pod.pk).update(due_at=utcnow() + hours(1), attempts=7)
    press(alert, "Destroy again")
    pod.refresh_from_db()
    assert pod.due_at is not None
    assert pod.due_at <= utcnow()
    event = PodEvent.objects.filter(pod=pod).latest("pk")
    assert (event.by, event.rule) == ("admin:operator", "operator")

    failing = an_alert(pod.fleet, cause="boots_fail", subject=f"fleet:{pod.fleet_id}")
    press(failing, "Pause emb")
    pod.fleet.refresh_from_db()
    assert pod.fleet.mode == "paused"

    low = an_alert(None, cause="balance_low", subject=f"account:{pod.account_id}")  # type: ignore[arg-type]
    assert "Stop these fleets" in press(low, "Stop emb…").content.decode()
    pod.fleet.refresh_from_db()
    assert pod.fleet.mode == "paused"


def test_a_pod_that_is_not_being_destroyed_is_not_destroyed_again(operator: Client) -> None:
    pod = a_pod(state=READY)
    sent = {"action": "destroy_again", "_selected_action": pod.pk}
    answer = operator.post(reverse("admin:pods_pod_changelist"), sent, follow=True)
    assert "not being destroyed" in answer.content.decode()
    pod.refresh_from_db()
    assert pod.status is READY
    assert pod.due_at is None


def test_each_alert_is_in_one_tab_and_rows_have_their_buttons(operator: Client) -> None:
    fleet, now = a_fleet(name="emb"), utcnow()
    answered = {"acknowledged_at": now, "acknowledged_by": "ann"}
    later, before = {"snoozed_until": now + hours(1)}, {"snoozed_until": now - seconds(1)}
    made = {
        "": [an_alert(fleet, subject="pod:1"), an_alert(fleet, subject="pod:2", **before)],
        "acknowledged": [
            an_alert(fleet, subject="pod:3", **answered),
            an_alert(fleet, subject="pod:4", **answered, **later),
        ],
        "snoozed": [an_alert(fleet, subject="pod:5", **later, snoozed_by="bob")],
        "ended": [an_alert(fleet, subject="pod:6", resolved_at=now, **answered)],
    }
    for tab, alerts in made.items():
        answer = operator.get(INBOX, {"is": tab} if tab else {})
        assert {a.pk for a in answer.context["cl"].result_list} == {a.pk for a in alerts}, tab
        counts = {t["name"]: t["count"] for t in answer.context["tabs"]}
        assert counts == {"": 2, "acknowledged": 2, "snoozed": 1, "ended": None}
    assert set(made) == set(TABS)
    page = " ".join(operator.get(INBOX).content.decode().split())
    assert f'formaction="{reverse("alert-answer", args=[made[""][0].pk])}"' in page
    assert 'pf-amber"><span aria-hidden="true">▲</span> Warning' in page
    assert "acknowledged by ann" in operator.get(INBOX, {"is": "acknowledged"}).content.decode()


def test_the_buttons_of_a_row_acknowledge_and_snooze(operator: Client) -> None:
    first, second = (an_alert(a_fleet(), subject=f"pod:{n}") for n in (1, 2))
    answer = operator.post(reverse("alert-answer", args=[first.pk]), follow=True)
    assert "Acknowledged: pod 1 is old" in answer.content.decode()
    snooze = reverse("alert-snooze", args=[second.pk, 8]) + "?back=alert"
    sent = operator.post(snooze)
    assert sent.headers["Location"] == reverse("admin:fleet_alert_change", args=[second.pk])
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.acknowledged_by == second.snoozed_by == "operator"
    assert second.snoozed_until is not None
    assert hours(7.9) < second.snoozed_until - utcnow() <= hours(8)
    again = operator.post(reverse("alert-answer", args=[first.pk]), follow=True)
    assert "Already answered or ended" in again.content.decode()
    assert operator.post(reverse("alert-snooze", args=[second.pk, 9])).status_code == 404
    assert operator.get(reverse("alert-answer", args=[second.pk])).status_code == 405


@pytest.mark.parametrize("verb", ["alert-answer", "alert-snooze"])
def test_an_answer_is_taken_back_and_each_of_them_is_written_down(
    operator: Client, verb: str
) -> None:
    alert = an_alert(a_fleet(), subject="pod:1")
    take_back = reverse("alert-take-back", args=[alert.pk])
    assert take_back not in page_of(operator, alert)
    operator.post(reverse(verb, args=[alert.pk, 8] if verb == "alert-snooze" else [alert.pk]))
    tab = "snoozed" if verb == "alert-snooze" else "acknowledged"
    assert take_back in page_of(operator, alert)
    assert take_back in operator.get(INBOX, {"is": tab}).content.decode()
    said = operator.post(f"{take_back}?back=alert", follow=True).content.decode()
    assert "Taken back, so it needs somebody again: pod 1 is old" in said
    alert.refresh_from_db()
    assert not alert.is_silent(utcnow())
    assert (alert.acknowledged_by, alert.snoozed_by) == ("", "")
    assert Alert.objects.loud(utcnow()).get() == alert
    assert "Not silent, or ended" in operator.post(take_back, follow=True).content.decode()
    answers = list(alert.answers.values_list("what", "by"))
    assert answers == [("taken_back", "operator"), (tab, "operator")]
    page = page_of(operator, alert)
    assert "Taken back by operator" in page
    people = operator.get(reverse("admin:pods_podevent_changelist"), {"who": "people"})
    assert "taken back by operator" in people.content.decode()


def test_a_viewer_takes_nothing_back_and_an_ended_alert_stays_as_it_was(operator: Client) -> None:
    alert = an_alert(a_fleet(), subject="pod:1")
    operator.post(reverse("alert-answer", args=[alert.pk]))
    take_back = reverse("alert-take-back", args=[alert.pk])
    assert a_user("viewer").post(take_back).status_code == 403
    Alert.objects.update(resolved_at=utcnow())
    operator.post(take_back)
    assert Alert.objects.get().acknowledged_by == "operator"


@pytest.mark.parametrize("alerts", [2, 30])
def test_the_inbox_has_a_fixed_number_of_queries(
    operator: Client, alerts: int, django_assert_max_num_queries: Any
) -> None:
    for n in range(alerts):
        an_alert(a_fleet(), subject=f"pod:{n}")
    operator.get(INBOX)
    with django_assert_max_num_queries(14):
        assert len(operator.get(INBOX).context["cl"].result_list) == alerts


def test_an_alert_says_who_was_told_or_why_nobody_was(admin_client: Client) -> None:
    alert = an_alert(a_fleet())
    add = reverse("admin:fleet_channel_add")
    page = page_of(admin_client, alert)
    assert "Nobody." in page
    assert f'href="{add}">Add a channel</a>' in page
    viewer = a_user("viewer")
    assert add not in page_of(viewer, alert).partition("Sent to")[2]
    assert "An admin can add a channel" in page_of(viewer, alert)

    channel = delivering.add_channel("ops", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    assert "not yet sent" in page_of(admin_client, alert)
    Channel.objects.update(min_severity="critical")
    assert "no channel that is on receives warning alerts" in page_of(admin_client, alert)

    now = utcnow()
    sent = Delivery.objects.create(
        alert=alert, channel=channel, announcement=1, due_at=now, state="sent",
        sent_at=now - timedelta(minutes=3),
    )  # fmt: skip
    assert "<strong>ops</strong>:" in page_of(admin_client, alert)
    assert "3 min ago" in page_of(admin_client, alert)
    Delivery.objects.create(
        alert=alert, channel=channel, announcement=2, due_at=now, state="failed",
        last_error="status 500 from https://ann:hunter2@host/",
    )  # fmt: skip
    page = page_of(admin_client, alert)
    assert "not sent, given up" in page
    assert "status 500" in page
    assert "hunter2" not in page
    assert sent.pk


def test_an_ended_alert_has_no_buttons(operator: Client) -> None:
    alert = alert_of(Cause.BOOTS_FAIL)
    Alert.objects.update(resolved_at=utcnow())
    page = page_of(operator, alert)
    assert "Nothing: its cause has ended." in page
    assert "Edit handler" not in page
    assert "formaction" not in page


def test_an_alert_about_nothing_decided_says_when_beat_and_workers_last_ran(
    admin_client: Client,
) -> None:
    alert = alert_of(Cause.NO_TICK)
    fleet = Fleet.objects.get(pk=alert.fleet_id)
    assert fleet.schedule is not None
    type(fleet.schedule).objects.filter(pk=fleet.schedule_id).update(
        enabled=False, last_run_at=utcnow() - hours(2)
    )
    page = page_of(admin_client, alert)
    assert "Beat last sent the task of this fleet:" in page
    assert "2 h ago" in page
    assert "it is switched off" in page


def test_the_log_of_an_alert_is_that_of_the_newest_failure() -> None:
    fleet, now = a_fleet(), utcnow()
    a_pod(fleet, TERMINATED, failed_at=now - hours(1))
    newest = a_pod(fleet, TERMINATED, failed_at=now)
    ready = a_pod(fleet, READY)
    alert = an_alert(fleet, cause="boots_fail", subject=f"fleet:{fleet.pk}")
    log = reverse("admin:pods_pod_logs", args=[newest.pk])
    assert advice.remedies_of(alert)[0].url == log
    alert.cause = "all_fail"
    log = reverse("admin:pods_pod_logs", args=[ready.pk])
    assert advice.remedies_of(alert)[0].url == log


def test_alerts_that_are_acknowledged_elsewhere_stay_counted_by_the_same_rule() -> None:
    account = an_account()
    alert = an_alert(None, cause="credentials", subject=f"account:{account.pk}")  # type: ignore[arg-type]
    assert answering.acknowledge([alert], by="ann") == 1
    from fleet.admin.alerts import _of_tab

    assert not Alert.objects.filter(_of_tab("")).exists()
    assert set(Alert.objects.loud(utcnow())) == set(Alert.objects.filter(_of_tab("")))


def test_the_worst_open_alert_comes_first_and_the_last_one_that_ended(
    admin_client: Client,
) -> None:
    fleet, now = a_fleet(), utcnow()
    for minutes, severity in ((3, "critical"), (2, "info"), (1, "warning"), (0, "critical")):
        since = now - timedelta(minutes=minutes)
        for ended in (None, now):
            an_alert(
                fleet, subject=f"{minutes} {ended}", severity=severity, text=f"alert {minutes}",
                first_seen_at=since, resolved_at=ended,
            )  # fmt: skip

    def shown(tab: str) -> list[str]:
        page = admin_client.get("/admin/fleet/alert/", {"is": tab} if tab else {}).content.decode()
        return list(dict.fromkeys(re.findall(r"alert (\d)", page)))

    assert shown("") == ["0", "3", "1", "2"]
    assert shown("ended") == ["0", "1", "2", "3"]
