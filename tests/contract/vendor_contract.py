"""The contract of every provider with an emulated vendor: what may be concluded when it fails.

A test file subclasses `VendorContract` and has one fixture, `subject`: a `VendorSubject`. The tests
switch on its `faults` (vendor_faults.py). For an emulator on a `Server`, server_faults.py has half of
them ready. docs/howto/provider.md shows a complete one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from pods.providers.base import Machine, OfferQuery, Phase, Provider
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unavailable,
)
from tests.contract.provider_contract import (
    eventually,
    listed,
    reaches,
    rent,
    rent_running,
    vanishes,
)
from tests.support.rigs.vendor_faults import Faults, VendorSubject

TAG: Final = "pf-a"
PASSWORD: Final = "s3cretpassword"
ENV: Final = {"PODFLEET_REDIS_URL": f"redis://pod-7:{PASSWORD}@backlog.example:6379/0"}
WAIT_SECONDS: Final = 7  # longer than an adapter waits by itself
GARBLED: Final = (b"", b"{", b"null", b"[]", b"{}", b'"ok"', b"7", b"<html>hello</html>", b"\xff")


Call = Callable[[Provider, str], object]


def calls(subject: VendorSubject, *, create: bool = True) -> Iterator[tuple[str, Call]]:
    """Every verb that the provider can do. Call this before a fault: a spec needs an offer."""
    spec, flags = subject.spec(TAG, "t9", env=ENV), subject.provider.capabilities
    yield "offers", lambda provider, _: provider.offers(OfferQuery())
    if create:
        yield "create", lambda provider, _: provider.create(spec, token="t9")
    yield "status", lambda provider, external_id: provider.status(external_id)
    yield "list_tagged", lambda provider, _: provider.list_tagged(TAG)
    if flags.can_stop:
        yield "stop", lambda provider, external_id: provider.stop(external_id)
        yield "start", lambda provider, external_id: provider.start(external_id)
    yield "logs", lambda provider, external_id: provider.logs(external_id)
    yield "destroy", lambda provider, external_id: provider.destroy(external_id)


@contextmanager
def going_wrong(subject: VendorSubject) -> Iterator[Faults]:
    """Faults that are switched on within the block are switched off after it."""
    try:
        yield subject.faults
    finally:
        subject.faults.clear()


def every_call_fails(
    subject: VendorSubject, machine: Machine, error: type[ProviderError], begin: Callable[[], None]
) -> dict[str, ProviderError]:
    """What each verb raises during a fault. It also checks that the verbs did nothing."""
    known = list(calls(subject))
    before = set(subject.living())
    raised: dict[str, ProviderError] = {}
    with going_wrong(subject):
        begin()
        for name, call in known:
            with pytest.raises(error) as caught:
                call(subject.provider, machine.external_id)
            assert type(caught.value) is error, name
            raised[name] = caught.value
    assert set(subject.living()) == before
    assert subject.provider.status(machine.external_id).phase is Phase.RUNNING
    return raised


def found_by_token(subject: VendorSubject, token: str) -> Machine:
    """The one machine with the token, as soon as the list shows it."""
    seen = eventually(
        subject,
        lambda: [m for m in subject.provider.list_tagged(TAG) if m.token == token],
        lambda machines: len(machines) > 0,
    )
    assert len(seen) == 1
    return seen[0]


def rents_without_an_answer(
    subject: VendorSubject, begin: Callable[[], None], *, by: Provider | None = None
) -> None:
    """A create is sent once and carried out without an answer. Its machine is found and ended."""
    spec, before = subject.spec(TAG, "t1", env=ENV), subject.faults.creates()
    with going_wrong(subject):
        begin()
        with pytest.raises(Unavailable):
            (by or subject.provider).create(spec, token="t1")
    # Held requests are counted when they are released.
    eventually(subject, subject.faults.creates, lambda sent: sent > before)
    machine = found_by_token(subject, "t1")
    assert set(subject.living()) == {machine.external_id}
    subject.provider.destroy(machine.external_id)
    vanishes(subject, machine.external_id, TAG)
    assert subject.faults.creates() == before + 1


def rents_nothing(
    subject: VendorSubject, error: type[ProviderError], begin: Callable[[], None]
) -> ProviderError:
    """A create is declined, and there is no machine, also after every lag."""
    spec = subject.spec(TAG, "t1", env=ENV)
    with going_wrong(subject):
        begin()
        with pytest.raises(error) as caught:
            subject.provider.create(spec, token="t1")
        assert type(caught.value) is error
    subject.let_pass(subject.provider.capabilities.list_lag.total_seconds())
    assert not subject.living()
    assert listed(subject.provider, TAG) == {}
    return caught.value


class VendorContract:
    """The rules for every provider behind a network."""

    @pytest.mark.fault(4)
    def test_a_create_whose_answer_is_lost_is_sent_once_and_found_by_its_token(
        self, subject: VendorSubject
    ) -> None:
        rents_without_an_answer(subject, lambda: subject.faults.lose_next_create(done=True))

    @pytest.mark.fault(4)
    def test_a_create_that_is_answered_too_late_is_found_by_its_token(
        self, subject: VendorSubject
    ) -> None:
        rents_without_an_answer(subject, subject.faults.hold_answers, by=subject.impatient)

    @pytest.mark.fault(6)
    def test_a_create_that_fails_and_still_bills_is_found_by_its_token(
        self, subject: VendorSubject
    ) -> None:
        rents_without_an_answer(subject, subject.faults.fail_next_create)

    @pytest.mark.parametrize("body", GARBLED)
    def test_a_create_whose_answer_cannot_be_read_is_found_by_its_token(
        self, subject: VendorSubject, body: bytes
    ) -> None:
        rents_without_an_answer(subject, lambda: subject.faults.garble_next_create(body))

    @pytest.mark.fault(5)
    def test_a_create_that_never_arrived_leaves_nothing(self, subject: VendorSubject) -> None:
        rents_nothing(subject, Unavailable, lambda: subject.faults.lose_next_create(done=False))

    @pytest.mark.fault(7)
    def test_a_refusal_that_bills_names_what_bills(self, subject: VendorSubject) -> None:
        spec = subject.spec(TAG, "t1")
        if not subject.faults.bill_for_next_refusal():
            pytest.skip("no refusal of this vendor names what it made")
        with pytest.raises(Refused) as caught:
            subject.provider.create(spec, token="t1")
        named = caught.value.billing_id
        assert named is not None
        assert set(subject.living()) == {named}
        subject.provider.destroy(named)
        vanishes(subject, named, TAG)
        assert not subject.living()

    @pytest.mark.fault(10)
    def test_a_sold_out_offer_is_no_capacity(self, subject: VendorSubject) -> None:
        rents_nothing(subject, NoCapacity, subject.faults.sell_out)

    @pytest.mark.fault(49)
    def test_without_money_nothing_is_rented_and_the_reason_is_given(
        self, subject: VendorSubject
    ) -> None:
        rents_nothing(subject, QuotaExceeded, subject.faults.use_up_funds)

    @pytest.mark.fault(50)
    def test_a_create_that_comes_too_soon_rents_nothing(self, subject: VendorSubject) -> None:
        error = rents_nothing(subject, RateLimited, lambda: subject.faults.limit_rate(WAIT_SECONDS))
        assert getattr(error, "retry_after", None) == WAIT_SECONDS

    @pytest.mark.fault(49)
    def test_every_verb_reports_a_revoked_key_which_says_nothing_about_a_machine(
        self, subject: VendorSubject
    ) -> None:
        machine = rent_running(subject, "t1")
        every_call_fails(subject, machine, AuthFailed, subject.faults.revoke_key)

    @pytest.mark.fault(50)
    def test_every_verb_reports_a_rate_limit_with_the_time_to_wait(
        self, subject: VendorSubject
    ) -> None:
        machine = rent_running(subject, "t1")
        raised = every_call_fails(
            subject, machine, RateLimited, lambda: subject.faults.limit_rate(WAIT_SECONDS)
        )
        waits = {name: getattr(error, "retry_after", None) for name, error in raised.items()}
        assert waits == dict.fromkeys(raised, WAIT_SECONDS)

    @pytest.mark.fault(35)
    @pytest.mark.parametrize("fault", ["be_ill", "cut_the_line"])
    def test_a_vendor_that_does_not_answer_is_unavailable_to_every_verb(
        self, subject: VendorSubject, fault: str
    ) -> None:
        machine = rent_running(subject, "t1")
        every_call_fails(subject, machine, Unavailable, getattr(subject.faults, fault))

    def test_an_answer_that_comes_too_late_says_nothing(self, subject: VendorSubject) -> None:
        machine = rent_running(subject, "t1")
        with going_wrong(subject):
            subject.faults.hold_answers()
            for call in (
                lambda: subject.impatient.status(machine.external_id),
                lambda: subject.impatient.list_tagged(TAG),
                lambda: subject.impatient.destroy(machine.external_id),
            ):
                with pytest.raises(Unavailable):
                    call()
        # It may or may not be done, so it is right to ask again.
        subject.provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, TAG)

    @pytest.mark.fault(30)
    @pytest.mark.parametrize("body", GARBLED)
    def test_an_answer_that_cannot_be_read_is_neither_empty_nor_gone(
        self, subject: VendorSubject, body: bytes
    ) -> None:
        machine = rent_running(subject, "t1")
        with going_wrong(subject):
            subject.faults.garble(body)
            for look in (
                lambda: subject.provider.status(machine.external_id),
                lambda: subject.provider.list_tagged(TAG),
                lambda: subject.provider.offers(OfferQuery()),
            ):
                with pytest.raises(Unavailable):
                    look()

    @pytest.mark.fault(28)
    def test_fields_that_nobody_knows_change_nothing(self, subject: VendorSubject) -> None:
        machine = rent_running(subject, "t1")
        with going_wrong(subject):
            subject.faults.add_fields()
            assert subject.provider.status(machine.external_id) == machine
            assert listed(subject.provider, TAG) == {machine.external_id: machine}

    @pytest.mark.fault(28)
    def test_a_status_that_nobody_knows_is_unknown_and_never_gone(
        self, subject: VendorSubject
    ) -> None:
        machine = rent_running(subject, "t1")
        with going_wrong(subject):
            subject.faults.rename_statuses()
            seen = subject.provider.status(machine.external_id)
            assert (seen.phase, seen.token) == (Phase.UNKNOWN, "t1")
            assert seen.raw_status
            assert listed(subject.provider, TAG)[machine.external_id].phase is Phase.UNKNOWN

    @pytest.mark.fault(30)
    def test_a_list_that_shifts_while_it_is_read_loses_and_doubles_nothing(
        self, subject: VendorSubject
    ) -> None:
        ids = {rent(subject, f"t{n}").external_id for n in range(7)}
        assert set(listed(subject.provider, TAG)) == ids
        subject.faults.shift_next_list()
        assert set(listed(subject.provider, TAG)) == ids

    @pytest.mark.fault(30)
    def test_a_part_of_a_list_is_an_error(self, subject: VendorSubject) -> None:
        for n in range(7):
            rent(subject, f"t{n}")
        with going_wrong(subject):
            subject.faults.cut_lists()
            with pytest.raises(Unavailable):
                subject.provider.list_tagged(TAG)
        assert len(listed(subject.provider, TAG)) == 7

    @pytest.mark.fault(9)
    def test_a_new_machine_is_hidden_for_no_longer_than_is_promised(
        self, subject: VendorSubject
    ) -> None:
        lag = subject.provider.capabilities.list_lag.total_seconds()
        subject.faults.hide_new_machines(lag)
        machine = rent(subject, "t1")
        if lag:
            with pytest.raises(NotFound):
                subject.provider.status(machine.external_id)
            assert listed(subject.provider, TAG) == {}
        subject.let_pass(lag)
        assert subject.provider.status(machine.external_id).token == "t1"
        assert set(listed(subject.provider, TAG)) == {machine.external_id}

    @pytest.mark.fault(36)
    def test_a_destroy_that_the_vendor_forgets_still_shows_the_machine(
        self, subject: VendorSubject
    ) -> None:
        machine = rent_running(subject, "t1")
        with going_wrong(subject):
            subject.faults.forget_destroys()
            subject.provider.destroy(machine.external_id)
            subject.let_pass(subject.provider.capabilities.consistency_window.total_seconds())
            assert subject.provider.status(machine.external_id).phase is Phase.RUNNING
            assert set(listed(subject.provider, TAG)) == {machine.external_id}
        subject.provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, TAG)

    @pytest.mark.fault(26)
    def test_a_machine_that_the_vendor_took_away_is_not_there_and_can_be_destroyed(
        self, subject: VendorSubject
    ) -> None:
        machine, other = rent_running(subject, "t1"), rent_running(subject, "t2")
        subject.faults.take_away(machine.external_id)
        vanishes(subject, machine.external_id, TAG)
        subject.provider.destroy(machine.external_id)
        assert set(listed(subject.provider, TAG)) == {other.external_id}

    @pytest.mark.fault(24)
    def test_a_stopped_machine_whose_host_is_full_stays_stopped(
        self, subject: VendorSubject
    ) -> None:
        if not subject.provider.capabilities.can_stop:
            pytest.skip("this provider cannot stop and start")
        machine = rent_running(subject, "t1")
        subject.provider.stop(machine.external_id)
        reaches(subject, machine.external_id, Phase.STOPPED)
        subject.faults.fill_host(machine.external_id)
        with pytest.raises(NoCapacity):
            subject.provider.start(machine.external_id)
        subject.let_pass(subject.provider.capabilities.consistency_window.total_seconds())
        reaches(subject, machine.external_id, Phase.STOPPED)

    @pytest.mark.fault(68)
    def test_no_error_shows_the_key_or_what_the_machine_was_given(
        self, subject: VendorSubject
    ) -> None:
        machine, known = rent_running(subject, "t1"), list(calls(subject))
        for name, call in known:
            with going_wrong(subject):
                # Only a create knows these values, so only a create can hide them.
                given = PASSWORD if name == "create" else ENV["PODFLEET_REDIS_URL"]
                subject.faults.refuse(f"seen \x1b[31m {subject.secret} and {given}")
                with pytest.raises(ProviderError) as caught:
                    call(subject.provider, machine.external_id)
            told = "".join(said(caught.value))
            assert PASSWORD not in told, name
            assert "\x1b" not in told, name
            assert subject.secret not in told, name


def said(error: BaseException | None) -> Iterator[str]:
    """Everything that an error and its causes would write to a log."""
    while error is not None:
        yield f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
