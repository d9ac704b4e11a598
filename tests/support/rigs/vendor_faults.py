"""The faults of a vendor that the tests of `VendorContract` switch on."""

from typing import Protocol

from pods.providers.base import Provider
from tests.support.rigs.subject import Subject


class Faults(Protocol):
    """Faults of a vendor. Each stays until `clear`, except those with `next` in their names.

    "Done" means that the vendor carries the request out, whatever it answers.
    """

    def lose_next_create(self, *, done: bool) -> None:
        """The connection breaks before the answer to the next create arrives."""
        ...

    def fail_next_create(self) -> None:
        """The next create is done, but its answer is a 5xx."""
        ...

    def garble_next_create(self, body: bytes) -> None:
        """The next create is done, and its answer is a success with this body."""
        ...

    def bill_for_next_refusal(self) -> bool:
        """The vendor refuses the next create, but its answer names a machine; False: it never does."""
        ...

    def hold_answers(self) -> None:
        """Every request is done, but its answer comes later than `impatient` waits."""
        ...

    def cut_the_line(self) -> None:
        """Every request is lost and not done."""
        ...

    def be_ill(self) -> None:
        """Every request gets a 5xx and is not done."""
        ...

    def limit_rate(self, seconds: int) -> None:
        """No request is done; the answer says how many seconds to wait."""
        ...

    def garble(self, body: bytes) -> None:
        """Every request gets a success with this body, and is not done."""
        ...

    def refuse(self, text: str) -> None:
        """Every request gets a 4xx, with this text wherever the vendor has a text."""
        ...

    def revoke_key(self) -> None:
        """The account's key is no longer valid."""
        ...

    def use_up_funds(self) -> None:
        """The account has no money to rent with; running machines run on for now."""
        ...

    def sell_out(self) -> None:
        """Nothing can be rented any more, not even by an earlier offer."""
        ...

    def fill_host(self, external_id: str) -> None:
        """The host of this stopped machine has no free GPU any more."""
        ...

    def hide_new_machines(self, seconds: float) -> None:
        """New machines are missing from every answer for so many seconds."""
        ...

    def forget_destroys(self) -> None:
        """A destroy gets its usual answer, but is not done."""
        ...

    def take_away(self, external_id: str) -> None:
        """The vendor ends a machine by itself; it is gone at once."""
        ...

    def add_fields(self) -> None:
        """Every machine in every answer has unknown fields."""
        ...

    def rename_statuses(self) -> None:
        """Every machine in every answer has an unknown status."""
        ...

    def shift_next_list(self) -> None:
        """After the first part of the next list, a machine of that part ends, which is not ours."""
        ...

    def cut_lists(self) -> None:
        """Every list fails after its first part."""
        ...

    def creates(self) -> int:
        """The number of create requests that have arrived."""
        ...

    def clear(self) -> None:
        """End all faults; their effects until now stay."""
        ...


class VendorSubject(Subject, Protocol):
    """A vendor with faults to switch on. Its lists come in parts of fewer than seven machines."""

    faults: Faults
    impatient: Provider  # an adapter of the same account with a short timeout
