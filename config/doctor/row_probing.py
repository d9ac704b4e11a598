"""Looks at the rows: beat, decisions, stored secrets, accounts, and fleets that rent elsewhere."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import parse_qs, urlsplit

from config.doctor.facts import AccountFacts, ImageFacts, RowFacts
from config.health import undecided_fleets
from fleet import reaching
from fleet.models import Fleet
from fleet.pages.last_runs import beat_last_sent
from fleet.resealing import lost_secrets
from pods.accounts import breaker, connecting, editing, registry_logins
from pods.base import sealing
from pods.base.shared_clock import shared_now
from pods.models import Account
from pods.providers import image_registry
from pods.providers.base import RegistryLogin

DOCKER: Final = "docker"
IMAGES_AT_ONCE: Final = 8


def rows(*, online: bool) -> RowFacts:
    """All facts that rows have. `online`: each account's key is tried with a real call too."""
    now = shared_now()
    accounts = Account.objects.filter(enabled=True).order_by("name")
    return RowFacts(
        now=now,
        beat_last_sent=beat_last_sent(),
        undecided=undecided_fleets(now),
        lost_secrets=lost_secrets(),
        accounts=[account_facts(account, online=online) for account in accounts],
        unreachable=unreachable_fleets(),
        ways_out=reaching.WAYS_OUT,
    )


def account_facts(account: Account, *, online: bool) -> AccountFacts:
    """Whether its key can be read, whether it is left alone, and what the vendor says."""
    problem = refused = not_asked = ""
    try:
        connecting.secret_of(account)
    except connecting.BadSecret as exc:
        problem = str(exc)
    if online and not problem:
        tried = editing.try_account(account)
        refused = tried.says if tried.good is False else ""
        not_asked = tried.says if tried.good is None else ""
    return AccountFacts(
        name=account.name,
        key_problem=problem,
        refused=refused,
        not_asked=not_asked,
        unused_because=breaker.why_unused(account, now=shared_now()),
    )


def images() -> list[ImageFacts]:
    """What the registries say of the images of all fleets, for each account whose vendor pulls them.

    Images on a Docker engine are left out: it may have what no registry has.
    """
    fleets = Fleet.objects.filter(archived_at=None).prefetch_related("accounts")
    wanted = {
        (fleet.image, account.pk): account
        for fleet in fleets
        for account in fleet.accounts.all()
        if fleet.image and account.enabled and account.provider != DOCKER
        if editing.is_rented(account)
    }
    looks = [(image, account, _login(account, image)) for (image, _), account in wanted.items()]
    with ThreadPoolExecutor(IMAGES_AT_ONCE) as pool:
        return list(pool.map(_image_facts, looks))


def _login(account: Account, image: str) -> RegistryLogin | None:
    try:
        return registry_logins.login_for(account, image)
    except sealing.WrongKey:
        return None  # `key-wrong` says it


def _image_facts(of: tuple[str, Account, RegistryLogin | None]) -> ImageFacts:
    image, account, login = of
    look = image_registry.look_for(image, login)
    return ImageFacts(
        image=image,
        account=account.name,
        found=look.found,
        refusal=registry_logins.refused(account, image),
        says=look.says,
    )


def unreachable_fleets() -> dict[str, str]:
    """The fleets that may rent pods which cannot use their Redis, and why."""
    fleets = Fleet.objects.filter(archived_at=None).prefetch_related("accounts").order_by("name")
    found = {fleet.name: reaching.wrong_with(fleet, list(fleet.accounts.all())) for fleet in fleets}
    return {name: why for name, why in found.items() if why}


def authorities(address: str, file: str) -> dict[str, str]:
    """The settings that name a file of an authority: the one for it, and a word of the address."""
    word = parse_qs(urlsplit(address).query).get("ssl_ca_certs", [""])[-1]
    named = {"PODFLEET_REDIS_CA": file, "ssl_ca_certs in REDIS_URL": word if word != file else ""}
    return {setting: path for setting, path in named.items() if path}


def is_verified(address: str) -> bool:
    """Whether a TLS address requires a good certificate; an address without TLS has none to check."""
    parts = urlsplit(address)
    wanted = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])[-1]
    return parts.scheme != "rediss" or wanted.lower().removeprefix("cert_") == "required"
