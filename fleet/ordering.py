"""Whether a fleet's accounts can give it the machines that it orders."""

from collections.abc import Sequence
from typing import Final

from django.core.exceptions import ValidationError

from fleet import reaching
from fleet.models import Fleet
from fleet.tick import wishes
from pods.accounts import connecting
from pods.models import Account
from pods.plural import plural

LOCAL: Final = "local"
CODE_STARTS: Final = (
    "the fleet has code of its own (a script or a folder), and its pods start with the program that "
    "fetches that code; leave the start command empty, or make a fleet whose image has the code"
)


def check_supply(fleet: Fleet, accounts: Sequence[Account]) -> None:
    """Check that these accounts can run the fleet's pods.

    Raises:
        ValidationError: with a message for each field that is wrong.
    """
    wrong: dict[str, str] = {}
    if not fleet.image and any(a.provider != LOCAL for a in accounts):
        wrong["image"] = "name the image of the pods; only local accounts need none"
    try:
        name_as_known(fleet)
    except ValueError as exc:
        wrong["offer_query"] = str(exc)
    if why := _no_gpus(fleet, accounts):
        wrong["gpu_count"] = why
    if why := _no_start(fleet, accounts):
        wrong["start_command"] = why
    if wrong:
        raise ValidationError(wrong)
    reaching.refuse_unreachable(fleet, accounts)


def name_as_known(fleet: Fleet) -> None:
    """Write the fleet's offer_query with the names of the catalogue.

    Raises:
        ValueError: it cannot be read, has a name that nobody knows, or an impossible number.
    """
    wish = wishes.wanted(fleet)
    stored = Fleet.objects.filter(pk=fleet.pk).values_list("offer_query", flat=True).first()
    if stored != fleet.offer_query:
        wishes.refuse_odd_numbers(wish)
        before = stored if isinstance(stored, dict) else {}
        fleet.offer_query = wishes.canonical(fleet.offer_query, stored=before)


def refuse_two_starts(fleet: Fleet) -> None:
    """Refuse a start command beside code: the pods would start with one of them alone.

    Raises:
        ValidationError: the fleet has both.
    """
    if fleet.bundle and fleet.start_command:
        raise ValidationError({"start_command": CODE_STARTS})


def _no_gpus(fleet: Fleet, accounts: Sequence[Account]) -> str:
    """Why an account can never give a pod so many GPUs; "": each can, or its offers say it."""
    if (
        not isinstance(fleet.gpu_count, int) or fleet.gpu_count <= 1
    ):  # its own field says what is wrong
        return ""
    for account in accounts:
        can = connecting.capabilities_of(account)
        if can is None or can.most_gpus is None or can.most_gpus >= fleet.gpu_count:
            continue
        if can.most_gpus == 0:
            has = "gives its pods no GPUs of their own; use 1 there"
            if not can.on_this_host:
                has = (
                    "has no GPUs; say how many its host has in the options of the account, or use 1"
                )
        else:
            has = f"has {plural(can.most_gpus, 'GPU')}; use 1 to {can.most_gpus} there"
        return f"the account {account.name} {has}, or rent from other accounts"
    return ""


def _no_start(fleet: Fleet, accounts: Sequence[Account]) -> str:
    """Why no image would get the start command; "": one does, or there is none."""
    if not fleet.start_command:
        return ""
    can = {account: connecting.capabilities_of(account) for account in accounts}
    if accounts and all(known is not None and known.on_this_host for known in can.values()):
        return (
            "it is for the image of a pod, and the pods of local accounts have none; leave it empty, "
            "or rent from another account"
        )
    for account, known in can.items():
        if known is not None and not known.on_this_host and not known.takes_args:
            return (
                f"{account.provider}, the provider of the account {account.name}, takes none; leave it "
                "empty, or rent from other accounts"
            )
    return ""
