"""Where the credentials of stores come from: the fleet's secrets, else the environment."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Optional

from pods.agent import masking

Given = Callable[[], Mapping[str, str]]
Told = tuple[tuple[str, str], ...]

# The variables that the client library knows, by the scheme of a URL.
VARIABLES: "Mapping[str, tuple[str, ...]]" = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT", "AWS_ENDPOINT_URL"),
        *("AWS_SKIP_SIGNATURE", "AWS_REQUEST_PAYER", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
    ),
    "gs": (
        *("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE"),
    ),
    "az": (
        *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
        *("AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID"),
        *("AZURE_STORAGE_ENDPOINT", "AZURE_SKIP_SIGNATURE"),
    ),
}
# Variables that belong together. Where a fleet's secrets have one of them, those of the environment do
# not count: a session token belongs to one key.
TOGETHER = (
    frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}),
    frozenset(VARIABLES["gs"]),
    frozenset(VARIABLES["az"][1:6]),
)
# Any line gives access, as a whole.
ACCESS = {
    "s3": (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SKIP_SIGNATURE",)),
    "gs": tuple((name,) for name in VARIABLES["gs"]),
    "az": tuple(
        ("AZURE_STORAGE_ACCOUNT_NAME", name)
        for name in (*VARIABLES["az"][1:3], "AZURE_STORAGE_CLIENT_SECRET", "AZURE_SKIP_SIGNATURE")
    ),
}

# What the stores say of a key that is wrong or has expired, and not of one that may not do this.
# Each in its place, because a text also has the names of files.
NOT_KNOWN = re.compile(
    "<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|TokenRefreshRequired|InvalidToken"
    "|InvalidSecurity|AuthenticationFailed|InvalidAuthenticationInfo)</Code>"
    '|"invalid_grant"|^Generic S3 error: Missing SecretAccessKey'
)
# Without credentials in the environment the client asks the machine's own cloud for them.
GIVES_CREDENTIALS = ("//169.254.169.254", "//metadata.google.internal")
NAMED = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of a public bucket AWS_SKIP_SIGNATURE=true)",
    "gs": "GOOGLE_SERVICE_ACCOUNT_KEY (of a public bucket GOOGLE_SKIP_SIGNATURE=true)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

_secrets: Callable[[], Mapping[str, str]] = dict


def use(secrets: Callable[[], Mapping[str, str]]) -> None:
    """From now on the whole process takes credentials from these secrets, as they are at each call."""
    global _secrets  # noqa: PLW0603 - an agent serves one fleet
    _secrets = secrets


def everywhere() -> Mapping[str, str]:
    """The environment with the secrets that `use` named."""
    return merged(os.environ, _secrets())


within: "ContextVar[Optional[Given]]" = ContextVar("the credentials of a fleet", default=None)


@contextmanager
def using(secrets: Mapping[str, str]) -> Iterator[None]:
    """Within the block, places take their credentials from these secrets, else from the environment.

    They keep them after the block. Other threads do not see this.
    """
    token = within.set(lambda: merged(os.environ, secrets))
    try:
        yield
    finally:
        within.reset(token)


def merged(environment: Mapping[str, str], secrets: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with these secrets, which win."""
    if not secrets:
        return environment
    replaced = {name for group in TOGETHER if group & secrets.keys() for name in group}
    return {**{n: v for n, v in environment.items() if n not in replaced}, **secrets}


def told(scheme: str, given: Given) -> Told:
    """What a client of this kind of store is told."""
    names = VARIABLES.get(scheme, ())
    environment = given() if names else {}
    return tuple((name, environment[name]) for name in names if environment.get(name))


def keys_of(scheme: str, config: Mapping[str, str]) -> Any:
    """The credentials as the client library takes them from a function. None: it finds its own."""
    if scheme == "s3" and config.get("aws_access_key_id") and config.get("aws_secret_access_key"):
        return {
            "access_key_id": config["aws_access_key_id"],
            "secret_access_key": config["aws_secret_access_key"],
            "token": config.get("aws_session_token"),
            "expires_at": None,  # a change of the secrets makes another client
        }
    if scheme == "az" and (key := config.get("azure_storage_account_key")):
        return {"access_key": key, "expires_at": None}
    if scheme == "az" and (token := config.get("azure_storage_sas_token")):
        return {"sas_token": token, "expires_at": None}
    return None


def has_access(scheme: str, variables: Mapping[str, str]) -> bool:
    """Whether these variables give access to such a store, or say that it needs none."""
    return scheme not in ACCESS or any(all(map(variables.get, line)) for line in ACCESS[scheme])


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """The text without the credentials in this environment."""
    known = {name: environment.get(name, "") for names in VARIABLES.values() for name in names}
    for form in sorted(masking.forms(known), key=len, reverse=True):
        text = text.replace(form, masking.MASK)
    return text
