"""What each call's end writes into the row of its account, and into no other row."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pods import tasks
from pods.accounts import breaker, connecting, editing, surveying
from pods.accounts.connecting import BadSecret
from pods.accounts.surveying import packed
from pods.base import sealing
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod
from pods.providers.base import Offer, Offers
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Unavailable,
)
from pods.states import BOOTING, CREATING, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod, an_account, seconds
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
LOST, NO_KEY, NO_MONEY = Unavailable("x"), AuthFailed("x"), QuotaExceeded("x")
SOON, BEFORE = NOON + seconds(1), NOON - seconds(1)


@pytest.mark.parametrize(
    ("row", "error", "creating", "failures", "open_for", "refused"),
    [
        ({}, LOST, False, 1, None, False),
        ({"failures": 1}, LOST, True, 2, None, False),
        ({"failures": 2}, LOST, True, 3, 30, False),
        ({"failures": 3}, LOST, False, 4, 60, False),
        ({"failures": 3, "open_until": NOON}, LOST, False, 4, 60, False),
        ({"failures": 3, "open_until": SOON}, LOST, False, 3, 1, False),
        ({}, RateLimited("x"), True, 0, None, False),
        ({}, NoCapacity("x"), True, 1, None, False),
        ({}, NO_KEY, False, 1, 30, False),
        ({}, NO_KEY, True, 1, 30, True),
        ({}, NO_MONEY, True, 1, 30, True),
        ({"open_until": SOON}, NO_MONEY, True, 0, 1, False),
    ],
)
def test_a_failure_counts_against_its_account(
    time: SteppedClock,
    row: dict[str, Any],
    error: ProviderError,
    creating: bool,
    failures: int,
    open_for: int | None,
    refused: bool,
) -> None:
    other, account = an_account(), an_account(**row)
    before = Account.objects.filter(pk=other.pk).values().get()
    breaker.failed(account, error, creating=creating)
    stored = Account.objects.get(pk=account.pk)
    until = None if open_for is None else NOON + seconds(open_for)
    for each in (account, stored):
        assert (each.failures, each.open_until) == (failures, until)
        assert each.create_refused_at == (NOON if refused else None)
        assert bool(each.last_error) is (not isinstance(error, RateLimited))
    assert Account.objects.filter(pk=other.pk).values().get() == before


@pytest.mark.parametrize(
    ("row", "closed"),
    [
        ({"failures": 3, "open_until": BEFORE}, True),
        ({"failures": 3, "open_until": SOON}, False),
        ({"failures": 1}, True),
        ({"open_until": BEFORE}, True),
        ({"failures": 1, "create_refused_at": NOON - timedelta(minutes=59)}, False),
        ({"failures": 1, "create_refused_at": NOON - timedelta(hours=1)}, True),
    ],
)
def test_a_call_that_was_answered_closes_the_breaker_after_its_pause(
    time: SteppedClock, row: dict[str, Any], closed: bool
) -> None:
    other, account = (an_account(last_error="x", **row) for _ in range(2))
    before = Account.objects.filter(pk=other.pk).values().get()
    breaker.answered(account)
    for each in (account, Account.objects.get(pk=account.pk)):
        assert (each.failures == 0 and each.open_until is None) is closed
        assert (each.last_error, each.create_refused_at) == (
            ("", None) if closed else ("x", row.get("create_refused_at"))
        )
    assert Account.objects.filter(pk=other.pk).values().get() == before


@pytest.mark.parametrize(
    ("row", "secret"),
    [
        ({}, None),
        ({"sealed_secret": "sealed"}, "sealed"),
        ({"secret_ref": "env:THE_KEY"}, "from its place"),
        ({"secret_ref": "env:THE_KEY", "sealed_secret": "sealed"}, "from its place"),
    ],
)
def test_the_key_of_an_account(
    monkeypatch: pytest.MonkeyPatch, row: dict[str, str], secret: str | None
) -> None:
    monkeypatch.setenv("THE_KEY", "from its place")
    if "sealed_secret" in row:
        row = {**row, "sealed_secret": sealing.seal("sealed")}
    assert connecting.secret_of(Account(**row)) == secret
    with pytest.raises(BadSecret, match="env:NAME or file:/path"):
        connecting.read_secret("THE_KEY")


def test_accounts_with_one_key_share_their_pace_and_others_do_not(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "k")
    shared = [an_account("runpod", secret_ref="env:THE_KEY") for _ in range(2)]
    own = [an_account("runpod", sealed_secret=sealing.seal("k")) for _ in range(2)]
    paces = [connecting.connect(account)._account for account in (*shared, *own)]  # type: ignore[attr-defined]
    assert paces == [
        *["runpod:env:THE_KEY"] * 2,
        *(f"runpod:{account.pk}" for account in own),
    ]
    local = connecting.connect(an_account())
    assert str(connecting._options(an_account())["root"]) in repr(local._provider)  # type: ignore[attr-defined]
    assert "root" not in connecting._options(shared[0])


@pytest.mark.parametrize(
    ("row", "sent"),
    [
        ({}, True),
        ({"state": BOOTING}, False),
        ({"due_at": NOON - tasks.NUDGE_AFTER}, False),
        ({"claimed_until": SOON}, False),
        ({"claimed_until": BEFORE}, True),
    ],
)
def test_a_late_step_is_sent_again_unless_a_worker_has_its_pod(
    time: SteppedClock, row: dict[str, Any], sent: bool
) -> None:
    fleet = a_fleet()
    late = NOON - tasks.NUDGE_AFTER - seconds(1)
    other = a_pod(fleet, TERMINATING)
    pod = a_pod(fleet, row.pop("state", CREATING))
    Pod.objects.filter(pk=pod.pk).update(**{"due_at": late, **row})
    tasks.nudge()
    due = Pod.objects.get(pk=pod.pk).due_at
    assert due == (NOON + tasks.NUDGE_AGAIN_AFTER if sent else row.get("due_at", late))
    assert Pod.objects.get(pk=other.pk).due_at == NOON


@pytest.mark.parametrize(
    ("changes", "secret", "error"),
    [({}, " ", "the secret is empty"), ({"provider": "acme"}, None, "no provider 'acme'")],
)
def test_an_account_is_not_saved_with_a_wrong_value(
    changes: dict[str, Any], secret: str | None, error: str
) -> None:
    account = an_account()
    with pytest.raises(ValidationError, match=error):
        editing.save_account(
            account, secret=secret, changes=changes, connect=OneMachine(Pod()).connect
        )
    assert Account.objects.get().provider == "local"


@pytest.mark.parametrize(("good", "failures"), [(True, 0), (None, 2)])
def test_an_account_whose_key_works_again_is_not_left_alone_any_more(
    good: bool | None, failures: int
) -> None:
    account = an_account(failures=2)
    fails = {} if good else {"list": RateLimited("slow down")}
    vendor = OneMachine(a_pod(), fails=fails)
    tried = editing.save_account(account, changes={"name": "new"}, connect=vendor.connect)
    assert tried.good is good
    stored = Account.objects.get(pk=account.pk)
    assert (stored.name, stored.failures) == ("new", failures)


CUT = Offers([Offer(key="new", hourly_usd=Decimal(1))], partial="p", cut_short=True)
WHOLE = Offers([Offer(key="new", hourly_usd=Decimal(1))])


@pytest.mark.parametrize(
    ("found", "first", "offers", "until", "kept"),
    [
        (CUT, False, True, SOON, True),
        (WHOLE, False, True, SOON, False),
        (CUT, True, True, SOON, False),
        (CUT, False, False, SOON, False),
        (CUT, False, True, NOON, False),
    ],
    ids=["cut short", "whole", "its turn", "nothing to keep", "too old to keep"],
)
def test_a_reading_that_is_cut_short_does_not_replace_a_fresh_one(
    time: SteppedClock, found: Offers, first: bool, offers: bool, until: Any, kept: bool
) -> None:
    old = [packed(Offer(key="old", hourly_usd=Decimal(1)))] if offers else []
    account = an_account(offers=old, surveyed_at=BEFORE, offers_until=until)
    vendor = OneMachine(Pod(), for_rent=found)
    surveying._read(account, None, vendor, first=first)
    account.refresh_from_db()
    assert [offer["key"] for offer in account.offers] == (["old"] if kept else ["new"])
