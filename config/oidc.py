"""What an identity provider is asked, and which role its answer gives. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

WELL_KNOWN: Final = "/.well-known/openid-configuration"
# Of a claim with this name only an address counts that the provider calls verified.
EMAIL: Final = "email"


class Refusal(StrEnum):
    """Why a person whom the provider knows may not come in."""

    NO_GROUPS = "no groups"  # the claim is missing: an error of the configuration
    NO_ROLE = "no role"
    DOMAIN = "domain"  # the e-mail address is of another domain, or is not verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc:
    """The identity provider of an installation. `issuer` is "": there is none."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    name: str = "single sign-on"
    scopes: Sequence[str] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of each role, highest first
    email_domains: Sequence[str] = ()  # empty: any
    link_by_email: bool = False

    @property
    def discovery_url(self) -> str:
        """Where the provider describes itself (OpenID Connect Discovery 1.0, section 4)."""
        return self.issuer.rstrip("/") + WELL_KNOWN

    @property
    def provider_id(self) -> str:
        """What its accounts are stored under. Another issuer has other people behind the same `sub`."""
        return f"oidc-{sha256(self.issuer.rstrip('/').encode()).hexdigest()[:16]}"

    @property
    def allowed_groups(self) -> Sequence[str]:
        """All groups that have access."""
        return [group for groups in self.groups.values() for group in groups]


def same_issuer(one: str, other: str) -> bool:
    """Whether two addresses name one issuer. Providers disagree about a slash at the end."""
    return one.rstrip("/") == other.rstrip("/")


def merged(id_token: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of both. An e-mail address keeps the `email_verified` of the same answer."""
    claims = {**userinfo, **id_token}
    if EMAIL in id_token and "email_verified" not in id_token:
        claims.pop("email_verified", None)
    return claims


def verified_email(claims: Mapping[str, Any]) -> str:
    """The e-mail address, if the provider says that it is verified; else ""."""
    email = claims.get(EMAIL)
    # Some providers write the boolean as a text.
    verified = claims.get("email_verified") in {True, "true"}
    return email if verified and isinstance(email, str) else ""


def groups_of(claims: Mapping[str, Any], name: str) -> Sequence[str] | None:
    """The groups in a claim; None: the claim is missing. A dot leads into a claim of objects.

    A text counts as one group, so `hd` of Google can be the claim.
    """
    if name == EMAIL:
        email = verified_email(claims)
        return [email] if email else None
    value: Any = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]
    return None


def role_for(claims: Mapping[str, Any], oidc: Oidc) -> str | Refusal:
    """The highest role that the claims give, or why they give none."""
    if oidc.email_domains:
        domain = verified_email(claims).rpartition("@")[2].lower()
        if domain not in {each.lower() for each in oidc.email_domains}:
            return Refusal.DOMAIN
    groups = groups_of(claims, oidc.groups_claim)
    if groups is None:
        return Refusal.NO_GROUPS
    has = set(groups)
    named = (role for role, wanted in oidc.groups.items() if has & set(wanted))
    return next(named, Refusal.NO_ROLE)
