"""The only code that builds and reads machines' names, `pf-<installation>-<fleet id>-<token>`."""

import re
import uuid
from dataclasses import dataclass
from typing import Final

# A tag that fits every installation: `list_tagged` then lists all names "pf-…".
ANY_INSTALLATION: Final = "pf"
_TOKEN: Final = re.compile(r"[0-9a-f]{32}\Z")
_NAME: Final = re.compile(
    r"pf-(?P<slug>[a-z0-9]{1,12})-(?P<fleet>[0-9]{1,17})(?:-(?P<rest>.*))?\Z", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineName:
    """What a machine's name says: its installation, its fleet and its pod."""

    slug: str  # of the installation
    fleet_id: int
    token: uuid.UUID | None  # the pod's client token; None: the name does not end with one

    @property
    def tag(self) -> str:
        """The beginning of the names of the fleet's machines."""
        return fleet_tag(self.slug, self.fleet_id)

    def __str__(self) -> str:
        return self.tag if self.token is None else tagged(self.tag, self.token.hex)

    @classmethod
    def parse(cls, name: str) -> "MachineName | None":
        """The parts of a machine's name; None if no installation of ours gives such names."""
        found = _NAME.match(name)
        if found is None:
            return None
        token = read_token(found["rest"] or "")
        return cls(slug=found["slug"], fleet_id=int(found["fleet"]), token=token)


def installation_tag(slug: str) -> str:
    """The beginning of the names of all machines of an installation."""
    return f"{ANY_INSTALLATION}-{slug}"


def fleet_tag(slug: str, fleet_id: int) -> str:
    """The beginning of the names of all machines of a fleet."""
    return f"{installation_tag(slug)}-{fleet_id}"


def tagged(tag: str, token: str) -> str:
    """The name of a machine that is created with this token."""
    return f"{tag}-{token}"


def has_tag(name: str, tag: str) -> bool:
    """Whether the name begins with the tag: `pf-a` is the tag of `pf-a-1`, not of `pf-ab-1`."""
    return name.startswith(f"{tag}-")


def token_of(name: str) -> str:
    """The last part of a name, which is its token in our names; "" if it has only one part."""
    return name.rpartition("-")[2] if "-" in name else ""


def short_name(name: str, length: int) -> str:
    """The beginning of a name's token, which tells pods apart on a page, or of the name itself."""
    return (token_of(name) or name)[:length]


def read_token(text: str) -> uuid.UUID | None:
    """The text as a client token; None if it is not one."""
    return uuid.UUID(hex=text) if _TOKEN.match(text) else None
