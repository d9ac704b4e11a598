"""The values of a fleet's secrets, decrypted."""

from collections.abc import Mapping

from fleet.models import Fleet, Secret
from pods.agent.protocol import STORE_PREFIXES
from pods.base import sealing


class Unreadable(ValueError):
    """A secret was encrypted with a key that is gone; the message says what would be right."""


def of_stores(fleet: Fleet) -> Mapping[str, str]:
    """The secrets with which the fleet's files are read and written.

    Raises:
        Unreadable: one cannot be decrypted.
    """
    rows = fleet.secrets.order_by("name")
    return {r.name: opened(r) for r in rows if r.name.startswith(STORE_PREFIXES)}


def opened(row: Secret) -> str:
    """The value of a secret. Raises as `of_stores`."""
    try:
        return sealing.unseal(row.sealed_value)
    except sealing.WrongKey as exc:
        raise Unreadable(
            f"the secret {row.name} of {row.fleet.name} was encrypted with another key; add that key to "
            f"PODFLEET_FIELD_KEYS, or set it again: `fleet secret set {row.fleet.name} {row.name}`"
        ) from exc
