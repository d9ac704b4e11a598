"""Which fields of rows with a history hold secrets or may hold them, and how each is shown."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pods import masking

Mask = Callable[[Any], Any]
OF_A_FLEET: Final[Mapping[str, Mask]] = {
    "backlog_url": masking.without_passwords,
    "handler_env": masking.without_values,
}
# How a column that is encrypted is called.
SECRETS: Final[Mapping[str, str]] = {
    "sealed_secret": "key",
    "sealed_registry_password": "registry_password",
    "sealed_url": "address",
}
HIDDEN: Final = "(changed)"  # of a secret whose masked forms are equal


def change(mask: Mask | None, before: Any, after: Any) -> tuple[Any, Any]:
    """The two values as anybody may see them."""
    shown = mask or masking.without_secrets
    was, now = shown(before), shown(after)
    return (was, HIDDEN) if was == now else (was, now)
