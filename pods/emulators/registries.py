"""The registries of private images, for every emulated vendor: which login gets which image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pods.providers.images import registry_of

REFUSED = "unauthorized: authentication required"  # what a registry says, by way of Docker


@dataclass(slots=True, kw_only=True)
class PrivateImages:
    """All images of these registries are private: each gives them to one user and password."""

    logins: dict[str, tuple[str, str]] = field(default_factory=dict)

    def gives(self, image: str, login: tuple[str, str] | None) -> bool:
        """Whether the image's registry gives it to this user and password."""
        wanted = self.logins.get(registry_of(image))
        return wanted is None or wanted == login


@dataclass(slots=True, kw_only=True)
class Kept:
    """A login that a vendor keeps under a name."""

    name: str
    user: str
    password: str = field(repr=False)

    def shown(self, registry_id: str) -> Mapping[str, str]:
        """What RunPod shows of it: never the login itself."""
        return {"id": registry_id, "name": self.name}
