"""Builds the notifier of a channel's address, and sends one message with it."""

from typing import Any, Final

import apprise

from fleet.decision.alert_facts import Severity

KINDS: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


def notifier(url: str) -> Any:
    """The notifier of an address; None if the address is not complete for its scheme."""
    # A redirect could lead to a host that was not checked.
    asset = apprise.AppriseAsset(
        http_redirects=False, storage_mode=apprise.PersistentStoreMode.MEMORY
    )
    # `add` would accept a list of addresses, of which only the first was checked.
    return apprise.Apprise.instantiate(url, asset=asset)


def notify(url: str, *, title: str, body: str, severity: Severity) -> bool:
    """Send a message; whether the channel took it."""
    service = notifier(url)
    if service is None:
        return False
    return bool(service.notify(title=title, body=body, notify_type=KINDS[severity]))
