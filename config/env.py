"""The environment variables of a deployment, with their types and limits."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Self

from django.core.exceptions import ImproperlyConfigured
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
SHORTEST_SECRET: Final = 40  # a secret that a person typed is shorter
NAMES = Annotated[tuple[str, ...], NoDecode]  # comma-separated


class Env(BaseSettings):
    """The settings of a deployment. Operators' settings are rows in the admin."""

    model_config = SettingsConfigDict(
        env_prefix="PODFLEET_",
        secrets_dir=os.environ.get("PODFLEET_SECRETS_DIR") or None,
        extra="ignore",
        populate_by_name=True,
    )

    database_url: SecretStr = Field(default=SecretStr(""), validation_alias="DATABASE_URL")
    redis_url: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_URL")
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
    log_level: str = "INFO"
    web_port: int = Field(default=8000, ge=1, le=65535)
    flower_port: int = Field(default=5555, ge=1, le=65535)
    bind: str = "127.0.0.1"
    worker_concurrency: int = Field(default=2, ge=1, le=256)
    allow_private_webhooks: bool = False
    redis_users: bool = True  # each pod gets its own Redis user
    keep_ticks_days: int = Field(default=30, ge=1, le=3650)
    keep_events_days: int = Field(default=365, ge=1, le=3650)

    @field_validator("allowed_hosts", "csrf_trusted_origins", "field_keys", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

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
    def _production_has_a_strong_secret(self) -> Self:
        if self.production and len(self.secret_key.get_secret_value()) < SHORTEST_SECRET:
            raise ImproperlyConfigured(
                f"PODFLEET_SECRET_KEY has fewer than {SHORTEST_SECRET} characters; make a new one with "
                "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`"
            )
        return self


@cache
def env() -> Env:
    """The environment; it is read once per process."""
    return Env()
