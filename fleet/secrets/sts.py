"""Asks AWS STS, or a store that answers like it, for keys that end by themselves."""

import hashlib
import hmac
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

TIMEOUT: Final = httpx.Timeout(8.0, connect=3.0)  # a tick waits for it
LARGEST_ANSWER: Final = 256 * 1024
LONGEST_TEXT: Final = 300
ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "sts"


class NotIssued(Exception):
    """No keys were issued; the message is one line for an operator, without a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The long-lived keys that sign the request."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which keys are asked for."""

    role_arn: str
    session_name: str  # what the store's log shows: letters, digits and _=,.@-
    seconds: int  # 900 to 43,200
    region: str
    endpoint: str = ""  # "": Amazon's of the region
    policy: str = ""  # JSON: what the keys may do at most, within the role's rights; "": all of it

    @property
    def url(self) -> str:
        """Where the request goes."""
        if self.endpoint:
            return self.endpoint
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://sts.{self.region}.{suffix}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys that end at `expires_at`, which has a time zone."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


def assume_role(wish: Wish, signer: Signer, *, now: datetime) -> Keys:
    """Ask for keys: one request, of at most about 10 s.

    The request is that of docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    (2026-12-01).

    Raises:
        NotIssued: STS refuses, does not answer, or answers something else.
    """
    asked = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": wish.role_arn,
        "RoleSessionName": wish.session_name,
        "DurationSeconds": str(wish.seconds),
    }
    if wish.policy:
        asked["Policy"] = wish.policy
    body = urlencode(asked).encode()
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    headers = signed("POST", wish.url, headers, body, signer, region=wish.region, now=now)
    host = urlsplit(wish.url).netloc
    try:
        status, text = _sent(wish.url, headers, body)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
        raise NotIssued(f"{host} does not answer: {type(exc).__name__}: {exc}") from exc
    if status != httpx.codes.OK:
        said = f"{_tag(text, 'Code')} {_tag(text, 'Message')}".strip() or "no reason"
        raise NotIssued(f"{host} refuses with HTTP {status}: {said[:LONGEST_TEXT]}")
    return _keys(host, text, now)


def _sent(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    found = b""
    with (
        httpx.Client(timeout=TIMEOUT, follow_redirects=False) as client,
        client.stream("POST", url, headers=headers, content=body) as answer,
    ):
        for piece in answer.iter_bytes():
            found += piece
            if len(found) > LARGEST_ANSWER:
                break
    return answer.status_code, found.decode("utf-8", "replace")


def _keys(host: str, text: str, now: datetime) -> Keys:
    words = [_tag(text, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    try:
        expires_at = datetime.fromisoformat(_tag(text, "Expiration"))
    except ValueError:
        expires_at = None
    if not all(words) or expires_at is None or expires_at.tzinfo is None:
        raise NotIssued(f"{host} answered without keys or without their end; it must answer as STS")
    if expires_at <= now:
        raise NotIssued(
            f"{host} issued keys that ended at {expires_at:%F %T %Z}; compare the clocks of this "
            "machine and of the store"
        )
    access, secret, token = words
    return Keys(
        access_key_id=access, secret_access_key=secret, session_token=token, expires_at=expires_at
    )


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found[1]).strip() if found else ""


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    signer: Signer,
    *,
    region: str,
    now: datetime,
    service: str = SERVICE,
) -> dict[str, str]:
    """The headers with a signature of the request (AWS Signature Version 4).

    docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (2026-12-01)
    """
    at, parts = now.strftime("%Y%m%dT%H%M%SZ"), urlsplit(url)
    given = {name.lower(): value.strip() for name, value in headers.items()}
    given |= {"host": parts.netloc, "x-amz-date": at}
    if signer.session_token:
        given["x-amz-security-token"] = signer.session_token
    names = ";".join(sorted(given))
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    lines = [f"{name}:{given[name]}" for name in sorted(given)]
    digest = hashlib.sha256(body).hexdigest()
    request = "\n".join([method, parts.path or "/", query, *lines, "", names, digest])
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, at, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{signer.secret_access_key}".encode()
    for word in scope.split("/"):
        key = _mac(key, word)
    given["authorization"] = (
        f"{ALGORITHM} Credential={signer.access_key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={_mac(key, text).hex()}"
    )
    return given


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
