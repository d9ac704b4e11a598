"""The contract of every provider: the manager relies on it, and every adapter must keep it.

A test file subclasses `ProviderContract` (or `VendorContract` in vendor_contract.py, for a vendor
with an emulator), and has one fixture, `subject`. docs/howto/provider.md shows a complete one.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

import pytest

from pods.providers.base import (
    Capabilities,
    Machine,
    OfferQuery,
    Phase,
    Provider,
    RegistryLogin,
)
from pods.providers.errors import Declined, NoCapacity, NotFound, ProviderError, Refused
from tests.support.rigs.subject import Subject
from tests.support.waiting import patience

T = TypeVar("T")

# Nothing takes longer than this. It is a bound for a test that hangs, not a wait.
MOST_SECONDS: Final = 60.0
STEP_SECONDS: Final = 1.0
HOSTILE: Final = (
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a b",
    "a\nb",
    "a\n",
    "a\0b",
    "a?b=1",
    "a#b",
    "%2e%2e",
    "ä",
    "x" * 500,
)
VERBS: Final = ("status", "stop", "start", "destroy", "logs")


def eventually(subject: Subject, look: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    """Look until the result is as wanted. AssertionError with the last result after a bound."""
    began = time.monotonic()
    steps = 0
    while not wanted(seen := look()):
        steps += 1
        waited = time.monotonic() - began
        assert waited < patience(MOST_SECONDS), f"still {seen!r} after {waited:.0f} s"
        assert steps < 10_000, f"still {seen!r} after {steps} steps"
        subject.let_pass(STEP_SECONDS)
    return seen


def reaches(subject: Subject, external_id: str, phase: Phase) -> Machine:
    """Wait until the provider says that the machine is in this phase."""

    def look() -> Machine | None:
        try:
            return subject.provider.status(external_id)
        except NotFound:  # a new machine may be unknown within the list lag
            return None

    def wanted(machine: Machine | None) -> bool:
        return machine is not None and machine.phase is phase

    machine = eventually(subject, look, wanted)
    assert machine is not None
    return machine


def vanishes(subject: Subject, external_id: str, tag: str) -> None:
    """Wait until neither `status` nor the list shows the machine."""

    def shown() -> bool:
        try:
            here = subject.provider.status(external_id).phase is not Phase.GONE
        except NotFound:
            here = False
        return here or external_id in listed(subject.provider, tag)

    eventually(subject, shown, lambda is_shown: not is_shown)


def listed(provider: Provider, tag: str) -> dict[str, Machine]:
    """The living machines in the provider's list, by id. Fails if an id is there twice."""
    machines = [m for m in provider.list_tagged(tag) if m.phase is not Phase.GONE]
    found = {machine.external_id: machine for machine in machines}
    assert len(found) == len(machines)
    return found


def rent(subject: Subject, token: str, tag: str = "pf-a") -> Machine:
    """Create a machine."""
    return subject.provider.create(subject.spec(tag, token), token=token)


def rent_running(subject: Subject, token: str, tag: str = "pf-a") -> Machine:
    """Create a machine and wait until it runs."""
    return reaches(subject, rent(subject, token, tag).external_id, Phase.RUNNING)


class ProviderContract:
    """The rules for every provider, whatever is behind it."""

    def test_a_machine_lives_from_create_to_gone(self, subject: Subject) -> None:
        provider = subject.provider
        machine = rent(subject, "t1")
        assert listed(provider, "pf-a")[machine.external_id].token == "t1"
        reaches(subject, machine.external_id, Phase.RUNNING)
        if provider.capabilities.can_stop:
            provider.stop(machine.external_id)
            reaches(subject, machine.external_id, Phase.STOPPED)
            provider.start(machine.external_id)
            reaches(subject, machine.external_id, Phase.RUNNING)
        provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, "pf-a")
        assert not subject.living()

    def test_a_machine_says_who_it_is_alike_in_every_answer(self, subject: Subject) -> None:
        created = rent(subject, "t1")
        running = reaches(subject, created.external_id, Phase.RUNNING)
        for machine in (created, running, listed(subject.provider, "pf-a")[created.external_id]):
            assert machine.external_id == created.external_id
            assert (machine.name, machine.token) == ("pf-a-t1", "t1")
            assert machine.hourly_usd is None or isinstance(machine.hourly_usd, Decimal)
            assert machine.created_at is None or machine.created_at.tzinfo is not None
        assert set(subject.living()) == {created.external_id}

    def test_an_order_that_an_adapter_may_not_know_still_makes_a_machine(
        self, subject: Subject
    ) -> None:
        """An adapter that cannot pass a start command on gets none: the manager looks at the flag."""
        login = RegistryLogin(
            host="ghcr.io", user="ann", password="pw-of-ann", owner="a1b2c3-7", digest="0" * 16
        )
        spec = subject.spec("pf-a", "t1", registry_login=login)
        machine = subject.provider.create(spec, token="t1")
        assert listed(subject.provider, "pf-a").keys() == {machine.external_id}
        assert "pw-of-ann" not in repr(spec)

    def test_a_machine_is_found_by_another_worker(self, subject: Subject) -> None:
        machine = rent_running(subject, "t1")
        other = subject.reconnected()
        assert listed(other, "pf-a")[machine.external_id].token == "t1"
        assert other.status(machine.external_id).phase is Phase.RUNNING
        other.destroy(machine.external_id)
        vanishes(subject, machine.external_id, "pf-a")

    def test_two_tokens_are_two_machines(self, subject: Subject) -> None:
        ids = {rent(subject, token).external_id for token in ("t1", "t2")}
        assert len(ids) == 2
        assert set(subject.living()) == ids
        assert {m.token for m in listed(subject.provider, "pf-a").values()} == {"t1", "t2"}

    def test_one_token_twice_is_one_machine_or_two_that_both_have_it(
        self, subject: Subject
    ) -> None:
        first, second = rent(subject, "t1"), rent(subject, "t1")
        same = first.external_id == second.external_id
        assert same is subject.one_token_is_one_machine
        assert set(subject.living()) == {first.external_id, second.external_id}
        assert (first.token, second.token) == ("t1", "t1")

    def test_the_list_holds_what_carries_the_tag_and_nothing_else(self, subject: Subject) -> None:
        for tag in ("pf-a", "pf-ab", "pf", "other"):
            rent(subject, f"of{tag.replace('-', '')}", tag)
        found = {m.name for m in listed(subject.provider, "pf-a").values()}
        assert found == {"pf-a-ofpfa"}
        assert listed(subject.provider, "nobodys") == {}
        # The tag of an installation finds the machines of all its fleets.
        assert len(listed(subject.provider, "pf")) == 3

    def test_of_many_machines_each_is_listed_once(self, subject: Subject) -> None:
        ids = {rent(subject, f"t{n}").external_id for n in range(7)}
        assert set(listed(subject.provider, "pf-a")) == ids

    def test_destroying_a_machine_that_is_gone_succeeds(self, subject: Subject) -> None:
        machine = rent_running(subject, "t1")
        for _ in range(2):
            subject.provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, "pf-a")
        subject.provider.destroy(machine.external_id)
        subject.provider.destroy(subject.unknown_id)

    def test_destroying_one_leaves_the_others(self, subject: Subject) -> None:
        first, second = rent_running(subject, "t1"), rent_running(subject, "t2")
        subject.provider.destroy(first.external_id)
        vanishes(subject, first.external_id, "pf-a")
        assert set(listed(subject.provider, "pf-a")) == {second.external_id}
        assert subject.provider.status(second.external_id).phase is Phase.RUNNING

    def test_a_booting_machine_can_be_destroyed(self, subject: Subject) -> None:
        machine = rent(subject, "t1")
        subject.provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, "pf-a")
        assert not subject.living()

    def test_an_unknown_machine_is_not_found(self, subject: Subject) -> None:
        provider = subject.provider
        with pytest.raises(NotFound):
            provider.status(subject.unknown_id)
        with pytest.raises(NotFound):
            provider.logs(subject.unknown_id)
        if provider.capabilities.can_stop:
            for verb in (provider.stop, provider.start):
                with pytest.raises(NotFound):
                    verb(subject.unknown_id)

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("bad", HOSTILE)
    def test_a_text_that_is_not_an_id_is_declined_before_anything_is_sent(
        self, subject: Subject, verb: str, bad: str
    ) -> None:
        before = subject.sent()
        with pytest.raises((Refused, NotFound)):
            getattr(subject.provider, verb)(bad)
        assert subject.sent() == before

    def test_a_stopped_machine_is_kept_and_can_be_destroyed(self, subject: Subject) -> None:
        provider = subject.provider
        machine = rent_running(subject, "t1")
        if not provider.capabilities.can_stop:
            with pytest.raises(Declined):
                provider.stop(machine.external_id)
            return
        for _ in range(2):  # a second stop must do no harm
            provider.stop(machine.external_id)
        reaches(subject, machine.external_id, Phase.STOPPED)
        assert listed(provider, "pf-a")[machine.external_id].phase is Phase.STOPPED
        provider.destroy(machine.external_id)
        vanishes(subject, machine.external_id, "pf-a")
        assert not subject.living()

    def test_starting_a_running_machine_changes_nothing(self, subject: Subject) -> None:
        if not subject.provider.capabilities.can_stop:
            pytest.skip("this provider cannot stop and start")
        machine = rent_running(subject, "t1")
        subject.provider.start(machine.external_id)
        reaches(subject, machine.external_id, Phase.RUNNING)
        assert set(subject.living()) == {machine.external_id}

    def test_the_flags_agree_with_what_is_done(self, subject: Subject) -> None:
        provider = subject.provider
        flags = provider.capabilities
        assert isinstance(flags, Capabilities)
        assert (provider.balance() is not None) is flags.has_balance
        machine = rent_running(subject, "t1")
        assert isinstance(provider.logs(machine.external_id, tail=5), str)
        assert len(provider.logs(machine.external_id, tail=1).splitlines()) <= 1

    def test_offers_can_be_told_apart_and_cost_something_or_nothing(self, subject: Subject) -> None:
        offers = subject.provider.offers(OfferQuery())
        assert offers
        assert len({offer.key for offer in offers}) == len(offers)
        for offer in offers:
            assert offer.key
            assert isinstance(offer.hourly_usd, Decimal)
            assert offer.hourly_usd >= 0

    def test_offers_fit_what_was_asked_for(self, subject: Subject) -> None:
        provider = subject.provider
        dearest = max(offer.hourly_usd for offer in provider.offers(OfferQuery()))
        ceiling = dearest / 2
        for offer in provider.offers(OfferQuery(max_hourly_usd=ceiling)):
            assert offer.hourly_usd <= ceiling
        for offer in provider.offers(OfferQuery(min_vram_gb=20)):
            assert (offer.vram_gb or 0) >= 20
        assert not provider.offers(OfferQuery(gpu_types=("A GPU that nobody makes",)))
        assert not provider.offers(OfferQuery(min_vram_gb=1_000_000))

    def test_offers_are_of_the_kind_that_was_asked_for(self, subject: Subject) -> None:
        for kind in (True, False):
            for offer in subject.provider.offers(OfferQuery(interruptible=kind)):
                assert offer.interruptible is kind

    def test_an_offer_that_was_never_made_rents_nothing(self, subject: Subject) -> None:
        for key in ("../../x", "a b", "offer\n", "999999999999999"):
            spec = subject.spec("pf-a", "t1", offer_key=key)
            with pytest.raises((Refused, NoCapacity)):
                subject.provider.create(spec, token="t1")
        assert not subject.living()

    def test_the_secret_is_not_shown(self, subject: Subject) -> None:
        if not subject.secret:
            pytest.skip("this account has no secret")
        assert subject.secret not in repr(subject.provider)
        assert subject.secret not in repr(vars(subject.provider))
        with pytest.raises(ProviderError) as caught:
            subject.provider.status(subject.unknown_id)
        assert subject.secret not in str(caught.value)
