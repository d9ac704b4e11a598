"""Asks AWS STS, or a store that answers like it, for keys that end by themselves."""

import asyncio
import hashlib
import hmac
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

TIMEOUT: Final = httpx.Timeout(8.0, connect=3.0)  # of the connection, and of each read
# Of the whole call, however slowly the answer comes.
LONGEST_SECONDS: Final = 10.0
# What a store says of a request whose time is not its own: STS RequestExpired, S3 and MinIO the other.
# docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html (2026-12-01)
CLOCK_CODES: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
# STS says this of a wrong secret key, and of a request that is five minutes early or late.
MISMATCH: Final = "SignatureDoesNotMatch"
CLOCKS_APART: Final = timedelta(minutes=4)
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
    """Ask for keys: one request, of at most LONGEST_SECONDS.

    Call it where no event loop runs. It reads and writes no row, so any thread may call it.

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
        answer = _sent(wish.url, headers, body)
    except TimeoutError as exc:
        raise NotIssued(f"{host} gave no whole answer within {LONGEST_SECONDS:g} s") from exc
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
        raise NotIssued(f"{host} does not answer: {type(exc).__name__}: {exc}") from exc
    if answer.status != httpx.codes.OK:
        code = _tag(answer.text, "Code")
        said = f"{code} {_tag(answer.text, 'Message')}".strip() or "no reason"
        ahead = None if answer.date is None else now - answer.date
        advice = advice_for(code, ahead)
        said = f"HTTP {answer.status}: {said[:LONGEST_TEXT]}"
        raise NotIssued(
            f"{host} refuses: {advice} ({said})" if advice else f"{host} refuses with {said}"
        )
    return _keys(host, answer.text, now)


def advice_for(code: str, ahead: timedelta | None) -> str:
    """What an operator does about this code of an error; "" where the code says nothing of it.

    `ahead`: how far the manager's clock is ahead of the store's. None: the store did not say its time.
    """
    apart = ahead is not None and abs(ahead) >= CLOCKS_APART
    if code not in CLOCK_CODES and code != MISMATCH:
        return ""
    if apart and ahead is not None:
        minutes = round(abs(ahead) / timedelta(minutes=1))
        where = "ahead of" if ahead > timedelta(0) else "behind"
        return (
            f"the manager's clock is {minutes} min {where} the store's; set the clock of the host of "
            "the manager"
        )
    if code in CLOCK_CODES:
        return "the clocks of the manager and of the store differ; compare them"
    rest = "" if ahead is not None else ", or the clocks of the manager and of the store differ"
    return f"AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID{rest}"


class _Answer(NamedTuple):
    status: int
    date: datetime | None  # the store's clock
    text: str


def _sent(url: str, headers: Mapping[str, str], body: bytes) -> _Answer:
    """Send one request.

    Raises:
        TimeoutError: the whole call took longer than LONGEST_SECONDS.
        httpx.HTTPError, httpx.InvalidURL, OSError: no answer.
    """
    # An event loop can leave a call at any point, also between two bytes of a header. `asyncio.run`
    # would then wait for a name server that does not answer; `close` does not.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(
            asyncio.wait_for(_exchanged(url, headers, body), LONGEST_SECONDS)
        )
    finally:
        loop.close()


async def _exchanged(url: str, headers: Mapping[str, str], body: bytes) -> _Answer:
    found = b""
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client,
        client.stream("POST", url, headers=headers, content=body) as answer,
    ):
        async for piece in answer.aiter_bytes():
            found += piece
            if len(found) > LARGEST_ANSWER:
                break
    date = _date(answer.headers.get("date", ""))
    return _Answer(answer.status_code, date, found.decode("utf-8", "replace"))


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


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
