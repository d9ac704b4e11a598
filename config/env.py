"""The environment variables of a deployment, with their types and limits."""

import os
from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import quote, urlsplit
from zoneinfo import available_timezones

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from config.oidc import Oidc
from pods.base import redis_address

ROOT = Path(__file__).resolve().parent.parent
SHORTEST_SECRET: Final = 40  # a secret that a person typed is shorter
HOW_TO_MAKE: Final = "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`"
FIELD_KEY_FILE: Final = "field-key"  # in the var folder, if no field key is given
LOG_LEVELS: Final = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
DATABASE_SCHEMES: Final = ("postgresql", "postgres", "sqlite")
PREFIX: Final = "PODFLEET_"
MISSPELLED: Final = 0.85  # how alike two names are: one letter more, or two that changed places
PLAIN_WORDS: Final = {  # pydantic's kinds of errors
    "bool_parsing": "write 1 for yes or 0 for no",
    "bool_type": "write 1 for yes or 0 for no",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
}
NAMES = Annotated[tuple[str, ...], NoDecode]  # comma-separated


class Env(BaseSettings):
    """The settings of a deployment. Operators' settings are rows in the admin."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        secrets_dir=os.environ.get("PODFLEET_SECRETS_DIR") or None,
        extra="ignore",
        populate_by_name=True,
    )

    database_url: SecretStr = Field(default=SecretStr(""), validation_alias="DATABASE_URL")
    redis_url: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_URL")
    # Logins for the two addresses, where those have none: here any character may stand as it is.
    database_password: SecretStr = Field(
        default=SecretStr(""), validation_alias="DATABASE_PASSWORD"
    )
    redis_username: str = Field(default="", validation_alias="REDIS_USERNAME")
    redis_password: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_PASSWORD")
    # Where pods elsewhere reach the server of REDIS_URL, if that is not the manager's own way.
    pods_redis_url: str = ""
    # A file with the certificate of the authority that vouches for that server.
    redis_ca: str = ""
    secret_key: SecretStr = SecretStr("")
    # The first key encrypts stored secrets, all keys decrypt. Empty: derived from a file in var.
    field_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    debug: bool = False
    production: bool = False  # refuses to start with a generated secret or an embedded service
    allowed_hosts: NAMES = ("localhost", "127.0.0.1", "[::1]")
    csrf_trusted_origins: NAMES = ()
    behind_proxy: bool = False  # trust X-Forwarded-Proto of the proxy in front
    https: bool = False  # secure cookies, HSTS
    time_zone: str = "UTC"
    var_dir: Path = ROOT / "var"
    log_json: bool = False
    traces: bool = False
    log_level: str = "INFO"
    web_port: int = Field(default=8000, ge=1, le=65535)
    flower_port: int = Field(default=5555, ge=1, le=65535)
    flower_url: str = ""  # where a browser finds Flower, for the menu; `up` fills it
    metrics_token: SecretStr = SecretStr("")  # who sends it may read /metrics; `up` generates one
    bind: str = "127.0.0.1"
    worker_concurrency: int = Field(default=2, ge=1, le=256)
    allow_private_webhooks: bool = False
    redis_users: bool = True  # each pod gets its own Redis user
    api_requests_per_minute: int = Field(default=600, ge=1, le=1_000_000)  # of a token
    api_failures_per_minute: int = Field(default=30, ge=1, le=1_000_000)  # of an address
    api_largest_body_mb: int = Field(default=1024, ge=1, le=1_000_000)
    batch_file_mb: int = Field(default=200, ge=1, le=10_000)
    # Sign-in of people: an identity provider (OpenID Connect), passwords, second factors.
    oidc_issuer: str = ""  # "": passwords alone
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_name: str = Field(default="single sign-on", max_length=40)  # on the button
    oidc_scopes: NAMES = ("openid", "profile", "email")
    oidc_groups_claim: str = "groups"
    oidc_owner_groups: NAMES = ()
    oidc_admin_groups: NAMES = ()
    oidc_operator_groups: NAMES = ()
    oidc_viewer_groups: NAMES = ()
    oidc_email_domains: NAMES = ()  # empty: any
    oidc_link_by_email: bool = False
    password_sign_in: bool = True
    require_totp: bool = False
    keep_ticks_days: int = Field(default=30, ge=1, le=3650)
    keep_events_days: int = Field(default=365, ge=1, le=3650)

    @field_validator(
        "allowed_hosts", "csrf_trusted_origins", "field_keys", "oidc_scopes", "oidc_owner_groups",
        "oidc_admin_groups", "oidc_operator_groups", "oidc_viewer_groups", "oidc_email_domains",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not a time zone; give a name such as Europe/Berlin")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_log_level(cls, value: str) -> str:
        if value not in LOG_LEVELS:
            raise ValueError(f"{value!r} is not a level; choose one of {', '.join(LOG_LEVELS)}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _readable_redis_url(cls, value: SecretStr) -> SecretStr:
        """Refuse what no client can read; never repeat the address, which may hold a password."""
        if url := value.get_secret_value():
            _check_address(
                "REDIS_URL", url, schemes=REDIS_SCHEMES, form="rediss://:password@host:6379/0"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _readable_database_url(cls, value: SecretStr) -> SecretStr:
        """Refuse what Django cannot read; never repeat the address, which may hold a password."""
        form = "postgresql://user:password@host:5432/name or sqlite:////folder/file.sqlite3"
        if url := value.get_secret_value():
            _check_address("DATABASE_URL", url, schemes=DATABASE_SCHEMES, form=form)
            try:
                dj_database_url.parse(url)
            except ValueError as exc:
                raise _unreadable("DATABASE_URL", form) from exc
        return value

    @model_validator(mode="after")
    def _sign_in_is_possible(self) -> Self:
        """Refuse a provider that is described in part, and an installation that lets nobody in.

        Raises:
            ImproperlyConfigured: as `_production_has_its_own_services`.
        """
        if not self.oidc_issuer:
            if not self.password_sign_in:
                raise ImproperlyConfigured(
                    "PODFLEET_PASSWORD_SIGN_IN is 0 and PODFLEET_OIDC_ISSUER is empty, so nobody "
                    "could sign in; name an identity provider, or allow passwords"
                )
            return self
        _check_issuer(self.oidc_issuer)
        if not self.oidc_client_id or not self.oidc_client_secret.get_secret_value():
            raise ImproperlyConfigured(
                "PODFLEET_OIDC_ISSUER is set, so PODFLEET_OIDC_CLIENT_ID and "
                "PODFLEET_OIDC_CLIENT_SECRET must be set too; the provider shows both"
            )
        if not any(self.oidc().groups.values()):
            raise ImproperlyConfigured(
                "PODFLEET_OIDC_ISSUER is set and no group has access; name groups of the provider in "
                "PODFLEET_OIDC_ADMIN_GROUPS, _OPERATOR_GROUPS, _VIEWER_GROUPS or _OWNER_GROUPS"
            )
        if "openid" not in self.oidc_scopes:
            raise ImproperlyConfigured(
                f"PODFLEET_OIDC_SCOPES is {','.join(self.oidc_scopes)}; it must have openid"
            )
        return self

    def oidc(self) -> Oidc:
        """The identity provider."""
        return Oidc(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            client_secret=self.oidc_client_secret.get_secret_value(),
            name=self.oidc_name,
            scopes=self.oidc_scopes,
            groups_claim=self.oidc_groups_claim,
            groups={
                "owner": self.oidc_owner_groups,
                "admin": self.oidc_admin_groups,
                "operator": self.oidc_operator_groups,
                "viewer": self.oidc_viewer_groups,
            },
            email_domains=self.oidc_email_domains,
            link_by_email=self.oidc_link_by_email,
        )

    @model_validator(mode="after")
    def _redis_url_is_the_address_of_one_server(self) -> Self:
        """Every part of the software reads the address alike.

        Raises:
            ImproperlyConfigured: it cannot be read, or has a word that is not known.
        """
        if given := self.redis_url.get_secret_value():
            password = self.redis_password.get_secret_value()
            given = _with_password(given, password, user=self.redis_username)
            self.redis_url = SecretStr(self._checked("REDIS_URL", given))
        if self.pods_redis_url:
            if "@" in urlsplit(self.pods_redis_url).netloc:
                raise ImproperlyConfigured(
                    "PODFLEET_PODS_REDIS_URL has a login; leave it out, because each pod gets its own"
                )
            self.pods_redis_url = self._checked("PODFLEET_PODS_REDIS_URL", self.pods_redis_url)
        return self

    def _checked(self, name: str, address: str) -> str:
        try:
            return redis_address.with_authority(redis_address.checked(address), self.redis_ca)
        except ValueError as exc:
            raise ImproperlyConfigured(f"{name}: {exc}") from exc

    @model_validator(mode="after")
    def _database_url_has_its_password(self) -> Self:
        if given := self.database_url.get_secret_value():
            password = self.database_password.get_secret_value()
            self.database_url = SecretStr(_with_password(given, password))
        return self

    @model_validator(mode="after")
    def _production_has_its_own_services(self) -> Self:
        """Refuse generated secrets and embedded services in production.

        Raises:
            ImproperlyConfigured: not a ValueError, because pydantic would print the values with it.
        """
        if self.production and not (
            self.secret_key.get_secret_value()
            and self.database_url.get_secret_value()
            and self.redis_url.get_secret_value()
        ):
            raise ImproperlyConfigured(
                "PODFLEET_PRODUCTION is set, so PODFLEET_SECRET_KEY, DATABASE_URL and REDIS_URL "
                "must be set too"
            )
        return self

    @model_validator(mode="after")
    def _production_has_strong_secrets(self) -> Self:
        """Refuse short secrets, and a field key that would be made in a folder that nobody keeps.

        An installation that runs with a generated field key goes on with it: its secrets need it.
        """
        if not self.production:
            return self
        firsts = {"PODFLEET_SECRET_KEY": self.secret_key}
        if self.field_keys:
            firsts["PODFLEET_FIELD_KEYS"] = self.field_keys[0]
        elif not (self.var_dir / FIELD_KEY_FILE).exists():
            raise ImproperlyConfigured(
                "PODFLEET_PRODUCTION is set, so PODFLEET_FIELD_KEYS must be set too; make a key with "
                f"{HOW_TO_MAKE}, and keep it with your backups"
            )
        for name, secret in firsts.items():
            if len(secret.get_secret_value()) < SHORTEST_SECRET:
                several = ", and put it in front of the others" if name.endswith("S") else ""
                raise ImproperlyConfigured(
                    f"{name} has fewer than {SHORTEST_SECRET} characters; make a new one with "
                    f"{HOW_TO_MAKE}{several}"
                )
        return self


@cache
def env() -> Env:
    """The environment; it is read once per process.

    Raises:
        ImproperlyConfigured: a variable has a wrong value; the message names the variable.
    """
    folder = os.environ.get("PODFLEET_SECRETS_DIR")
    files = [path.name.upper() for path in Path(folder).glob("*")] if folder else []
    _refuse_misspelled([*os.environ, *files])
    try:
        return Env()
    except ValidationError as exc:
        wrong = [
            f"{_variable(str(error['loc'][0]))}: "
            + PLAIN_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
            for error in exc.errors(include_input=False, include_url=False)
        ]
        raise ImproperlyConfigured("; ".join(wrong)) from None  # the cause would show the values


def _refuse_misspelled(names: Collection[str]) -> None:
    """Refuse a name that is almost that of a setting: the setting would silently not be made.

    Other names are let be. The agent, the tests and users' own programs have some, too.

    Raises:
        ImproperlyConfigured: with the name that was probably meant.
    """
    known = [field.upper() for field in Env.model_fields]
    for name in sorted(names):
        given = name.removeprefix(PREFIX)
        if given == name or given in known:
            continue
        for near in get_close_matches(given, known, n=1, cutoff=MISSPELLED):
            raise ImproperlyConfigured(f"{name} is not a setting; did you mean {PREFIX}{near}?")


def _variable(field: str) -> str:
    """The variable of a field; a field with a name of its own is reported by that name."""
    return f"PODFLEET_{field.upper()}" if field in Env.model_fields else field


def _check_issuer(issuer: str) -> None:
    form = "write it as https://login.example.com/realms/main, as the provider names itself"
    try:
        parts = urlsplit(issuer)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not host or not safe or parts.query or parts.fragment or parts.username:
        raise ImproperlyConfigured(f"PODFLEET_OIDC_ISSUER is not the address of a provider; {form}")
    if issuer.rstrip("/").endswith("/.well-known/openid-configuration"):
        raise ImproperlyConfigured(
            "PODFLEET_OIDC_ISSUER ends in /.well-known/openid-configuration; leave that out"
        )


def _check_address(name: str, url: str, *, schemes: tuple[str, ...], form: str) -> None:
    try:
        parts = urlsplit(url)
        if parts.scheme not in schemes:
            begin = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ImproperlyConfigured(f"{name} does not begin with {begin}; write it as {form}")
        _ = parts.port  # raises where it is not a number up to 65535
    except ValueError as exc:
        raise _unreadable(name, form) from exc


def _with_password(url: str, password: str, *, user: str = "") -> str:
    """The address with the password, percent-encoded, if it has none of its own."""
    parts = urlsplit(url)
    if not password or parts.password is not None or parts.scheme in {"unix", "sqlite"}:
        return url
    login, _, host = parts.netloc.rpartition("@")
    netloc = f"{login or quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return parts._replace(netloc=netloc).geturl()


def _unreadable(name: str, form: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{name} cannot be read; write it as {form}, with a port up to 65535, and in its user and "
        "password write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and [ as %5B"
    )
