"""A failing account is left alone for a while, as long as its number of failures in a row says."""

from datetime import timedelta

import pytest

from fleet.tick import requesting
from pods import reconciling
from pods.accounts import breaker
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account
from pods.providers.errors import AuthFailed, Unavailable
from tests.support.factories import an_account
from tests.support.world import World

pytestmark = pytest.mark.django_db
DOWN = Unavailable("no answer")


def left_alone_for(account: Account) -> timedelta:
    account.refresh_from_db()
    return (account.open_until or clock.utcnow()) - clock.utcnow()


def test_each_failed_try_doubles_the_pause_and_an_answer_ends_it() -> None:
    stepped = SteppedClock()
    with clock.use(stepped):
        account = an_account()
        for _ in range(2):
            breaker.failed(account, DOWN)
        assert left_alone_for(account) == timedelta(0)
        for pause in (30, 60, 120):
            breaker.failed(account, DOWN)
            assert left_alone_for(account) == timedelta(seconds=pause)
            stepped.advance(pause)
        breaker.succeeded(account)
        breaker.failed(account, DOWN)
        assert left_alone_for(account) == timedelta(0)


def test_an_answer_after_the_pause_closes_a_breaker_that_failed_reads_opened() -> None:
    stepped = SteppedClock()
    with clock.use(stepped):
        account = an_account()
        breaker.failed(account, AuthFailed("401"))
        breaker.answered(account)
        assert left_alone_for(account) == timedelta(seconds=30)
        stepped.advance(30)
        breaker.answered(account)
        account.refresh_from_db()
        assert (account.failures, account.open_until, account.last_error) == (0, None, "")


def test_answers_do_not_close_the_breaker_within_an_hour_of_a_refused_create() -> None:
    stepped = SteppedClock()
    with clock.use(stepped):
        account = an_account()
        for pause in (30, 30, 30, 60):
            breaker.failed(account, AuthFailed("401: the key lacks a scope"), creating=True)
            assert left_alone_for(account) == timedelta(seconds=pause)
            stepped.advance(pause)
            breaker.answered(account)
        assert account.failures == 4
        stepped.advance(3600 - 60)
        breaker.answered(account)
        account.refresh_from_db()
        assert (account.failures, account.last_error) == (0, "")
        breaker.failed(account, AuthFailed("401"), creating=True)
        breaker.succeeded(account)
        account.refresh_from_db()
        assert (account.failures, account.create_refused_at) == (0, None)


def test_failures_while_an_account_is_left_alone_do_not_lengthen_the_pause() -> None:
    stepped = SteppedClock()
    with clock.use(stepped):
        account = an_account()
        for _ in range(30):  # as sweeps, checks and teardowns do meanwhile
            breaker.failed(account, DOWN)
        assert left_alone_for(account) == timedelta(seconds=30)
        assert account.last_error == "Unavailable: no answer"
        stepped.advance(30)
        breaker.failed(account, DOWN)
        assert left_alone_for(account) == timedelta(seconds=60)


def test_a_successful_list_closes_the_breaker_of_an_account_without_pods(world: World) -> None:
    """Found by the seed 50014: no other call to such an account could close its breaker."""
    breaker.failed(world.account, AuthFailed("401"))
    world.rig.clock.advance(30)
    reconciling.reconcile_account(
        world.account, template_of=requesting.template_of, connect=world.connect
    )
    world.account.refresh_from_db()
    assert (world.account.failures, world.account.last_error) == (0, "")


def test_a_success_closes_an_account_that_was_paused_and_counts_no_failures() -> None:
    account = an_account(open_until=clock.utcnow() + timedelta(hours=1))
    breaker.succeeded(account)
    account.refresh_from_db()
    assert account.open_until is None
