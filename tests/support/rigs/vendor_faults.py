"""What can go wrong at a vendor, as the tests of `VendorContract` switch it on."""

from typing import Protocol

from pods.providers.base import Provider
from tests.support.rigs.subject import Subject


class Faults(Protocol):
    """What goes wrong at a vendor. Each stays until `clear`, but for those that say `next`.

    "Done" means that the vendor carried the request out, whatever its caller was told.
    """

    def lose_next_create(self, *, done: bool) -> None:
        """The line is cut before an answer to the next create comes."""
        ...

    def fail_next_create(self) -> None:
        """The next create is done, and answered with a 5xx."""
        ...

    def garble_next_create(self, body: bytes) -> None:
        """The next create is done, and answered with a success and this body."""
        ...

    def bill_for_next_refusal(self) -> bool:
        """The next create is refused, and its answer names what was made; False: never here."""
        ...

    def hold_answers(self) -> None:
        """Everything is done, and answered later than `impatient` waits."""
        ...

    def cut_the_line(self) -> None:
        """Every request is lost, and nothing done."""
        ...

    def be_ill(self) -> None:
        """Every request is answered with a 5xx, and nothing done."""
        ...

    def limit_rate(self, seconds: int) -> None:
        """Every request comes too soon and is not done; the answer says how long to wait."""
        ...

    def garble(self, body: bytes) -> None:
        """Every request is answered with a success and this body, and nothing done."""
        ...

    def refuse(self, text: str) -> None:
        """Every request is refused with a 4xx, with this text wherever the vendor puts one."""
        ...

    def revoke_key(self) -> None:
        """The account's key is no good any more."""
        ...

    def use_up_funds(self) -> None:
        """There is no money left to rent with; what runs goes on for now."""
        ...

    def sell_out(self) -> None:
        """Nothing can be rented any more, whatever was offered before."""
        ...

    def fill_host(self, external_id: str) -> None:
        """The stopped machine's host has no GPU free any more."""
        ...

    def hide_new_machines(self, seconds: float) -> None:
        """What is made from now on is missing from every answer for so long."""
        ...

    def forget_destroys(self) -> None:
        """A destroy is answered as ever, and not done."""
        ...

    def take_away(self, external_id: str) -> None:
        """The vendor ends a machine unasked; it is gone at once."""
        ...

    def add_fields(self) -> None:
        """Every machine in every answer has fields that nobody knows."""
        ...

    def rename_statuses(self) -> None:
        """Every machine in every answer is in a status that nobody knows."""
        ...

    def shift_next_list(self) -> None:
        """When part of the next list was sent, a machine of that part goes, none of ours."""
        ...

    def cut_lists(self) -> None:
        """Of every list the first part is sent, and then it fails."""
        ...

    def creates(self) -> int:
        """How many requests to create have arrived."""
        ...

    def clear(self) -> None:
        """Nothing goes wrong any more; what has happened stays as it is."""
        ...


class VendorSubject(Subject, Protocol):
    """A vendor with faults to switch on. Its lists come in parts of fewer than seven machines."""

    faults: Faults
    impatient: Provider  # the same account, by an adapter that waits for no answer for long
