"""Addresses of Redis servers: which words they may have, and what each word means."""

import re
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES: Final = ("redis", "rediss", "unix")
LIST: Final = re.compile(r"[;,]\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Celery writes the names of Python's constants, redis-py writes words of its own.
CERT_REQS: Final = {
    **{word: word for word in ("required", "optional", "none")},
    **{f"cert_{word}": word for word in ("required", "optional", "none")},
}
VERIFY_MODES: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
CELERYS: Final = frozenset(
    {
        *("visibility_timeout", "fanout_prefix", "fanout_patterns", "queue_order_strategy"),
        *("unacked_restore_limit", "unacked_mutex_key", "unacked_mutex_expire"),
    }
)


def checked(address: str, *, also: Collection[str] = ()) -> str:
    """The address as every client here reads it: the words of TLS translated, `db` in the path.

    `also`: words that the caller knows and has taken out; the message names them too.

    Raises:
        ValueError: the address is not one of a single Redis server, or a word in it is not known
            or has a wrong value. The message holds no password.
    """
    parts = _parts(address)
    words = _words(parts)
    for name, value in words.items():
        read = WORDS.get(name)
        if read is None:
            raise ValueError(_unknown(name, also))
        words[name] = read(name, value)
    return _written(parts, words)


def usable(address: str) -> str:
    """The address without the words that `checked` refuses: rows of older versions may have them.

    Commands and fences must reach a pod whatever stands in its row.
    """
    try:
        parts = _parts(address)
    except ValueError:
        return address
    words: dict[str, str] = {}
    for name, value in parse_qsl(parts.query):
        try:
            words[name] = WORDS[name](name, value)
        except (KeyError, ValueError):
            continue
    try:
        return _written(parts, words)
    except ValueError:
        return address


def for_celery(address: str) -> tuple[str, dict[str, Any] | None]:
    """The broker's address and its TLS options, so that Celery verifies as strictly as redis-py.

    Without options of its own Celery checks no certificate, and from an address it takes no other
    words than those of TLS. None: the connection is not encrypted.
    """
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return address, None
    bare = parts._replace(query="").geturl()
    if parts.scheme != "rediss":
        return bare, None
    words = dict(parse_qsl(parts.query))
    options: dict[str, Any] = {n: v for n, v in words.items() if n.startswith("ssl_")}
    options["ssl_cert_reqs"] = VERIFY_MODES[words.get("ssl_cert_reqs", "required")]
    if "ssl_check_hostname" in words:
        options["ssl_check_hostname"] = words["ssl_check_hostname"] == "true"
    return bare, options


def with_authority(address: str, file: str) -> str:
    """The address with the file of the authority to check, if it has TLS and names no other file."""
    parts = urlsplit(address)
    if not file or parts.scheme != "rediss" or "ssl_ca_certs" in dict(parse_qsl(parts.query)):
        return address
    words = [*parse_qsl(parts.query), ("ssl_ca_certs", file)]
    return parts._replace(query=urlencode(words)).geturl()


def check_one(address: str) -> None:
    """Check that this is one address, and not a list.

    Raises:
        ValueError: it is a list, or has a blank in it.
    """
    if LIST.search(address):
        raise ValueError("this is a list of addresses; give the address of one server")
    if any(c.isspace() or not c.isprintable() for c in address):
        raise ValueError("the address has a blank in it; write it as %20")


def _parts(address: str) -> SplitResult:
    check_one(address)
    parts = urlsplit(address)
    if "sentinel" in parts.scheme:
        raise ValueError(
            "addresses of sentinels are not supported; give the address of the server itself, or "
            "of a proxy that follows the sentinels"
        )
    if parts.scheme.endswith("+socket"):
        raise ValueError("write the address of a socket as unix:///path/of/the/socket")
    if parts.scheme not in SCHEMES or address[len(parts.scheme) :][:3] != "://":
        raise ValueError("an address of Redis begins with redis://, rediss:// or unix://")
    try:
        _ = parts.port
    except ValueError as exc:  # its text may hold a part of the password
        raise ValueError(
            "the port is not a number from 0 to 65535; in a password write / as %2F, # as %23, "
            "? as %3F and @ as %40"
        ) from exc
    return parts


def _words(parts: SplitResult) -> dict[str, str]:
    if parts.fragment:
        raise ValueError("the address ends with #…; take that out, or write # in a password as %23")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    words = dict(pairs)
    if len(words) < len(pairs):
        raise ValueError("the address has a word twice")
    if parts.scheme == "unix":
        return words
    database = parts.path.removeprefix("/")
    if database and not _is_number(database):
        raise ValueError(
            f"the database is {database!r}; give its number, such as redis://host:6379/0"
        )
    if database and "db" in words:
        raise ValueError("the address names the database twice; leave out ?db=")
    return words


def _written(parts: SplitResult, words: Mapping[str, str]) -> str:
    rest = dict(words)
    user = unquote(parts.username or "") or rest.pop("username", "")
    password = unquote(parts.password or "") or rest.pop("password", "")
    rest.pop("username", None)
    rest.pop("password", None)
    netloc = parts.netloc.rpartition("@")[2]
    if user or password:
        netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{netloc}"
    path = parts.path
    if parts.scheme != "unix" and "db" in rest:
        path = f"/{rest.pop('db')}"
    query = f"?{urlencode(rest)}" if rest else ""
    return f"{parts.scheme}://{netloc}{path}{query}"


def _unknown(name: str, also: Collection[str]) -> str:
    if name in CELERYS:
        return (
            f"the address has the word {name}, which is an option of Celery's transport; take it "
            "out of the address"
        )
    known = ", ".join(sorted({*WORDS, *also}))
    return (
        f"the address has the word {name[:40]}, which is not known; take it out. Known are: {known}"
    )


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}", text))


def _number(name: str, value: str) -> str:
    if not _is_number(value):
        raise ValueError(f"{name} is {value!r} in the address; give a whole number")
    return value


def _seconds(name: str, value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not float(value):
        raise ValueError(f"{name} is {value!r} in the address; give seconds above 0")
    return value


def _truth(name: str, value: str) -> str:
    lower = value.lower()
    if lower in {"true", "yes", "1", "t", "y"}:
        return "true"
    if lower in {"false", "no", "0", "f", "n"}:
        return "false"
    raise ValueError(f"{name} is {value!r} in the address; give true or false")


def _text(name: str, value: str) -> str:
    if not value:
        raise ValueError(f"{name} has no value in the address")
    return value


def _cert_reqs(name: str, value: str) -> str:
    try:
        return CERT_REQS[value.lower()]
    except KeyError as exc:
        raise ValueError(
            f"{name} is {value!r} in the address; give required, optional or none"
        ) from exc


# redis-py takes more words. Those are left out that change what an answer is (decode_responses,
# encoding, protocol …): this project sets them itself.
WORDS: Final[Mapping[str, Callable[[str, str], str]]] = {
    **{"db": _number, "username": _text, "password": _text, "client_name": _text},
    **{"socket_timeout": _seconds, "socket_connect_timeout": _seconds},
    **{"socket_keepalive": _truth, "retry_on_timeout": _truth, "ssl_check_hostname": _truth},
    **{"max_connections": _number, "health_check_interval": _number},
    **{"ssl_cert_reqs": _cert_reqs, "ssl_ca_certs": _text, "ssl_ca_path": _text},
    **{"ssl_certfile": _text, "ssl_keyfile": _text, "ssl_password": _text},
}
