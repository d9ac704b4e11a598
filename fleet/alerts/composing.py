"""Composes the address of an alert channel from what a person knows of it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from fleet.alerts.addresses import BadAddress


class Kind(StrEnum):
    """A kind of channel that has fields of its own; another one is given by its address."""

    SLACK = "slack"
    EMAIL = "email"
    NTFY = "ntfy"
    PAGERDUTY = "pagerduty"
    WEBHOOK = "webhook"
    OTHER = "other"


class Missing(BadAddress):
    """A field that the address needs is empty or wrong; `field` is its name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


# The kind of a stored address, by its scheme.
KINDS: Final[Mapping[str, Kind]] = {
    "slack": Kind.SLACK,
    **dict.fromkeys(("mailto", "mailtos"), Kind.EMAIL),
    **dict.fromkeys(("ntfy", "ntfys"), Kind.NTFY),
    "pagerduty": Kind.PAGERDUTY,
    **dict.fromkeys(("json", "jsons"), Kind.WEBHOOK),
}
SLACK_HOST, SLACK_PATH = "hooks.slack.com", "services"
Given = Mapping[str, str]


def kind_of(address: str) -> Kind:
    """The kind of an address."""
    return KINDS.get(address.partition(":")[0].lower(), Kind.OTHER)


def composed(kind: Kind, given: Given) -> str:
    """The address of a channel of this kind. `delivering.check_address` checks it.

    Raises:
        Missing: a field is empty or wrong; the message says what would be right.
    """
    return COMPOSERS[kind]({name: text.strip() for name, text in given.items()})


def _slack(given: Given) -> str:
    hook = given.get("slack_webhook", "")
    parts = _web_address("slack_webhook", hook, example="https://hooks.slack.com/services/T…/B…/…")
    tokens = [part for part in parts.path.split("/") if part]
    if parts.hostname != SLACK_HOST or len(tokens) != 4 or tokens[0] != SLACK_PATH:
        raise Missing(
            "slack_webhook",
            f"give the webhook as Slack shows it: https://{SLACK_HOST}/{SLACK_PATH}/T…/B…/…",
        )
    return "slack://" + "/".join(quote(token, safe="") for token in tokens[1:])


def _email(given: Given) -> str:
    to = _needed(given, "email_to", "give the address that gets the alerts: ops@example.com")
    server = _needed(given, "email_server", "give the mail server: smtp.example.com:587")
    user, password = given.get("email_user", ""), given.get("email_password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    sender = given.get("email_from", "") or (user if "@" in user else "")
    if not sender:
        raise Missing("email_from", "give the sender of the mails: podfleet@example.com")
    return f"mailtos://{login}{server}?{urlencode({'from': sender, 'to': to})}"


def _ntfy(given: Given) -> str:
    topic = _needed(given, "ntfy_topic", "give the topic: the name after ntfy.sh/")
    server = given.get("ntfy_server", "")
    if not server:
        return f"ntfys://{quote(topic, safe='')}"
    parts = _web_address("ntfy_server", server, example="https://ntfy.example.com")
    scheme = "ntfys" if parts.scheme == "https" else "ntfy"
    return f"{scheme}://{parts.netloc}/{quote(topic, safe='')}"


def _pagerduty(given: Given) -> str:
    key = _needed(given, "pagerduty_key", "give the integration key of the service")
    api_key = _needed(given, "pagerduty_api_key", "give an API key of PagerDuty")
    return f"pagerduty://{quote(key, safe='')}@{quote(api_key, safe='')}"


def _webhook(given: Given) -> str:
    hook = given.get("webhook_url", "")
    parts = _web_address("webhook_url", hook, example="https://example.com/alerts")
    scheme = "jsons" if parts.scheme == "https" else "json"
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{parts.netloc}{parts.path}{query}"


def _other(given: Given) -> str:
    return _needed(given, "address", "give an address; a new channel needs one")


def _needed(given: Given, name: str, text: str) -> str:
    if not given.get(name):
        raise Missing(name, text)
    return given[name]


def _web_address(name: str, text: str, *, example: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise Missing(name, f"give an address such as {example}")
    return parts


COMPOSERS: Final[Mapping[Kind, Callable[[Given], str]]] = {
    Kind.SLACK: _slack,
    Kind.EMAIL: _email,
    Kind.NTFY: _ntfy,
    Kind.PAGERDUTY: _pagerduty,
    Kind.WEBHOOK: _webhook,
    Kind.OTHER: _other,
}
