"""Connects an account's row to its provider, and builds what a pod's machine needs."""

import hashlib
import hmac
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError

from pods.accounts import redis_ca, registry_logins
from pods.accounts.start_command import start_command
from pods.agent import protocol
from pods.base import counters, sealing, tracing
from pods.base.redis import redis_client
from pods.models import Account, Pod
from pods.providers import registry
from pods.providers.account_options import WrongOption
from pods.providers.base import Capabilities, PodSpec, Provider
from pods.providers.observed import Observed
from pods.providers.pacing import Pacer

log = structlog.get_logger(__name__)

Connect = Callable[[Account], Provider]
LONGEST_SECRET: Final = 65_536  # bytes; all vendors' keys and service accounts are shorter


class CannotConnect(Exception):
    """An account cannot be used as it is; the message says what is wrong and what would be right."""


class BadSecret(CannotConnect):
    """An account's key cannot be read: its reference leads nowhere, or another key sealed it."""


def read_secret(reference: str) -> str | None:
    """The credentials that a reference names; None for an empty reference.

    Raises:
        BadSecret: there is nothing at the reference; the message says what would be right.
    """
    if not reference:
        return None
    kind, _, where = reference.partition(":")
    if kind == "env":
        value = os.environ.get(where, "")
    elif kind == "file":
        value = _read(reference, Path(where))
    else:
        # The reference is not repeated: an operator may have put the key itself into this field.
        raise BadSecret("the reference must be env:NAME or file:/path")
    if not value:
        raise BadSecret(f"{reference} is empty; put the key there, or correct the reference")
    return value


def _read(reference: str, file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # a device or a pipe may never end
            raise BadSecret(f"{reference} is not a regular file; put the key into one")
        with file.open("rb") as stream:
            raw = stream.read(LONGEST_SECRET + 1)
        if len(raw) > LONGEST_SECRET:
            raise BadSecret(
                f"{reference} is longer than {LONGEST_SECRET} bytes, so it is not a key"
            )
        return raw.decode().strip()
    except OSError as exc:
        raise BadSecret(f"{reference}: {exc.strerror}") from exc
    except ValueError as exc:  # not UTF-8, or a NUL in the path
        raise BadSecret(f"{reference} is not text in UTF-8; put only the key there") from exc


def secret_of(account: Account) -> str | None:
    """The account's credentials, from its reference or stored encrypted; None: it has none.

    Raises:
        BadSecret: they cannot be read; the message says what would be right.
    """
    if account.secret_ref or not account.sealed_secret:
        return read_secret(account.secret_ref)
    try:
        return sealing.unseal(account.sealed_secret)
    except sealing.WrongKey as exc:
        raise BadSecret(f"account {account.name}: {exc}") from exc


def check_options(account: Account) -> None:
    """Check the options of an account without its credentials and without a call.

    Raises:
        ValidationError: an option is unknown or wrong.
    """
    refused = _refused(account)
    if refused is not None:
        raise ValidationError({"options": f"{refused}; nothing was changed"}) from refused


def wrong_option(account: Account) -> WrongOption | None:
    """The first option of an account whose value is wrong; None: no single one is."""
    refused = _refused(account)
    return refused if isinstance(refused, WrongOption) else None


def _refused(account: Account) -> ValueError | None:
    """Why no adapter can be made with these options, with a key or without."""
    refused: list[ValueError] = []
    for secret in (None, "unread"):  # some providers need a key, others take none
        try:
            registry.create_provider(account.provider, options=_options(account), secret=secret)
        except ValueError as exc:
            refused.append(exc)
    return refused[0] if len(refused) == 2 else None


def capabilities_of(account: Account) -> Capabilities | None:
    """What the account's provider can do, without its credentials and without a call.

    None: it is unknown, because an option is wrong or the adapter cannot be made without a key.
    """
    for secret in (None, "unread"):  # some providers need a key, others take none
        with suppress(Exception):  # an adapter is anybody's code; `connect` says what is wrong
            return registry.create_provider(
                account.provider, options=_options(account), secret=secret
            ).capabilities
    return None


def _options(account: Account) -> dict[str, Any]:
    options = dict(account.options)
    if account.provider == "local":
        options.setdefault("root", str(settings.VAR_DIR / "pods"))
    return options


def connect(account: Account) -> Provider:
    """The provider of an account; its calls are logged, and all workers share their pace.

    Raises:
        CannotConnect: an option is wrong, the provider is unknown, or (BadSecret) the credentials
            cannot be read.
    """
    secret, client = secret_of(account), redis_client(settings.REDIS_URL)
    # The pace belongs to the credentials: two accounts with one key share it, as the vendor counts.
    pace = f"{account.provider}:{account.secret_ref or account.pk}"
    try:
        provider = registry.create_provider(
            account.provider,
            options=_options(account),
            secret=secret,
            make_pacer=lambda rates: Pacer(client, pace, rates),
        )
    except ValueError as exc:
        raise CannotConnect(str(exc)) from exc
    except Exception as exc:
        # An adapter is anybody's code. Its text may hold the key, so the log alone has it.
        log.exception("adapter_broke", provider=account.provider, account=account.name)
        error = type(exc).__name__
        raise CannotConnect(f"the adapter {account.provider} raised {error}; see the log") from exc
    return Observed(
        provider,
        account=pace,
        client=client,
        counted=partial(_count_call, account.pk),
        traced=tracing.span,
    )


def _count_call(account_id: int | None, call: str, result: str, seconds: float) -> None:
    """Count a call to a vendor for /metrics. An account that is being tried has no row yet."""
    if account_id is not None:
        counters.called(account_id, call, result, seconds)


def redis_url(pod: Pod) -> str:
    """The address of the Redis that holds the pod's backlog."""
    return pod.redis_url or settings.REDIS_URL


def redis_url_for_pods(own: str) -> str:
    """The address at which pods elsewhere reach the Redis of their backlog.

    `own`: the address of a server for their items alone; "": they use that of the installation.
    """
    return own or settings.PODS_REDIS_URL or settings.REDIS_URL


def redis_passwords(pod: Pod) -> list[str]:
    """The passwords of the pod's own Redis user.

    One per key of settings.FIELD_KEYS, so that a changed key does not lock pods out.
    """
    token = b"redis-user:" + pod.client_token.bytes
    return [hmac.new(k.encode(), token, hashlib.sha256).hexdigest() for k in settings.FIELD_KEYS]


def keys(pod: Pod) -> protocol.Keys:
    """The Redis keys of the pod's fleet."""
    return protocol.Keys(pod.agent["fleet"])


def spec(pod: Pod, *, redis_url: str) -> PodSpec:
    """The machine that the row describes, with its agent's environment; `redis_url`: the agent's.

    Raises:
        BadAuthority: the file with the authority of Redis cannot be given to the agent.
        BadSecret: the login at the registry of its image cannot be read.
    """
    try:
        login = registry_logins.login_for(pod.account, pod.image)
    except sealing.WrongKey as exc:
        raise BadSecret(f"account {pod.account.name}: {exc}") from exc
    address, ca = redis_ca.pinned(redis_url)
    agent = protocol.AgentSettings(
        redis_url=address,
        redis_ca=ca,
        pod=pod.name,
        token=pod.client_token.hex,
        template=pod.template_hash,
        **pod.agent,
    )
    return PodSpec(
        name=pod.name,
        tag=pod.tag,
        offer_key=pod.offer_key,
        image=pod.image,
        env={**pod.handler_env, **agent.env()},
        disk_gb=pod.disk_gb,
        gpu_count=pod.gpu_count,
        interruptible=pod.interruptible,
        command=start_command() if agent.bundle else (),
        args=() if agent.bundle else shlex.split(pod.start_command),
        registry_login=login,
    )
