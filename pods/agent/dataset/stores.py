"""Files in an object store or a folder, by URL, with errors of our own.

| URL | store | credentials, from the fleet's secrets, else from the environment |
| --- | --- | --- |
| `s3://bucket/key` | S3 and its like | `AWS_ACCESS_KEY_ID` …, `AWS_REGION`, `AWS_ENDPOINT_URL` |
| `gs://bucket/key` | Google Cloud Storage | `GOOGLE_SERVICE_ACCOUNT_KEY`, a JSON |
| `az://container/key` | Azure Blob Storage | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` |
| `file:///folder/file` | a folder of this machine | none |
| `https://host/path` | a web server, to read only | none |
"""

import functools
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Optional, TypeVar
from urllib.parse import quote, unquote

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    NotModifiedError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, S3Store

from pods.agent.dataset import credentials
from pods.agent.dataset.credentials import Given, Told

# One request moves at most so many bytes, because its time limit covers the whole body: 8 MiB in a
# minute is 140 KB/s.
LARGEST_REQUEST_BYTES = 8 * 1024 * 1024
REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 5.0
# Short faults are repeated within a call. Longer ones are an error, and the caller says so and waits.
MOST_RETRIES = 4
RETRY_SECONDS = 15.0
LONGEST_MESSAGE = 300
MOST_TRIES_WITHOUT_KEY = 200  # with 5 s between them: a quarter of an hour
PUTS_AT_ONCE = 4  # pieces of one large file
SCHEMES = ("s3", "gs", "az", "file", "https", "http")
# obstore does not give a status, so these are read from the text that it makes of it.
_STATUS = re.compile(r"status code: (\d{3})")
_OS_ERROR = re.compile(r"os error (\d+)")
_FULL = {28, 122}  # ENOSPC, EDQUOT
_NOT_ALLOWED = {1, 13, 20, 21, 30, 36, 40}  # EPERM, EACCES, ENOTDIR, EISDIR, EROFS, ENAMETOOLONG…
_AGAIN = {408, 409, 425, 429}
T = TypeVar("T")


class StoreError(Exception):
    """A store did not do what was asked. The message is one line, for an operator."""


class Missing(StoreError):
    """The file or its bucket does not exist."""


class Refused(StoreError):
    """The store does not allow it, or cannot do it: asking again does not help."""


class Full(StoreError):
    """There is no room for what is to be written."""


class Unreachable(StoreError):
    """No answer, or the store is at fault: asking again later may help."""


class Changed(StoreError):
    """The file is no longer the one that was meant."""


class AlreadyThere(StoreError):
    """A file of this name exists, and must not be written again."""


class NotKnown(Unreachable):
    """The store does not accept the credentials, or they have expired: others may help."""


class BadUrl(ValueError):
    """Not the URL of a file or a folder that can be opened."""


@dataclass(frozen=True)
class Found:
    """A file as the store lists it. `etag` is empty where the store has none."""

    url: str
    name: str  # within the folder that was listed
    size: int  # bytes
    etag: str


@dataclass(frozen=True)
class Place:
    """A file or a folder. Threads may share it."""

    url: str
    bucket: str  # or the host; empty for a folder of this machine
    path: str
    given: Given  # where the credentials of each call come from

    @property
    def store(self) -> Any:
        """The client, with the credentials of this moment: they may change while a file is read."""
        scheme = self.url.partition(":")[0]
        return _store(scheme, self.bucket, credentials.told(scheme, self.given))

    @property
    def key(self) -> str:
        """The path within the bucket, or on this machine: what names the file in the ids of rows."""
        return self.path if self.bucket else f"/{self.path}"

    def at(self, name: str) -> "Place":
        """The file with this name in this folder. A name may have `/`."""
        url = f"{self.url.rstrip('/')}/{name if self.bucket else quote(name)}"
        return replace(self, url=url, path=_joined(self.path, name))

    def head(self) -> Found:
        """The file as it is now.

        Raises:
            Missing, Refused, Unreachable
        """
        try:
            return self._found(_asked(self, lambda: obstore.head(self.store, self.path)))
        except Refused:
            self._raise_if_not_known()
            raise

    def _raise_if_not_known(self) -> None:
        """Ask why a HEAD was refused, whose answer has no text: the key may be at fault."""
        with suppress(Missing, Refused, Full, Changed):
            self.range(0, 1)

    def get(self, etag: str = "") -> bytes:
        """The whole file.

        Raises:
            Changed: it no longer has this ETag.
            Missing, Refused, Unreachable
        """
        return self.range(0, None, etag)

    def range(self, start: int, end: Optional[int], etag: str = "") -> bytes:
        """The bytes from `start` to `end`, which is not included. None: to the end of the file.

        Use `pieces` for more than some MB.

        Raises:
            Changed: it no longer has this ETag, or ends before `start`.
            Missing, Refused, Unreachable
        """
        if end is not None and end <= start:
            return b""
        options: Any = {}
        if end is not None:
            options["range"] = (start, end)
        elif start:
            options["range"] = {"offset": start}
        if etag and not etag.startswith("W/"):  # a weak ETag never matches
            options["if_match"] = etag

        def ask() -> bytes:
            got = obstore.get(self.store, self.path, options=options)
            now = self._etag(got.meta["e_tag"])
            if etag and now and now != etag:
                raise Changed(f"{self.url} changed: its ETag is {now} and was {etag}")
            return bytes(got.bytes())

        return _asked(self, ask)

    def pieces(self, start: int, end: int, etag: str = "") -> Iterator[bytes]:
        """The bytes from `start` to `end` in pieces, as they are asked for. Raises as `range` does."""
        while start < end:
            after = min(end, start + LARGEST_REQUEST_BYTES)
            yield self.range(start, after, etag)
            start = after

    def file(self, size: int, etag: str = "") -> "RangeFile":
        """The file for pyarrow and others that seek. Its reads raise as `range` does."""
        return RangeFile(self, size, etag)

    def put(self, content: Any, *, create: bool = False) -> str:
        """Write the file in one atomic step: nobody sees a part of it. Returns its ETag.

        `content`: bytes or another buffer. `create`: only if it does not exist yet.

        Raises:
            AlreadyThere: with `create`, and there is one.
            Refused, Full, Unreachable
        """
        done = _asked(
            self,
            lambda: obstore.put(
                self.store,
                self.path,
                content,
                mode="create" if create else "overwrite",
                use_multipart=None if self.bucket else False,
                chunk_size=LARGEST_REQUEST_BYTES,
                max_concurrency=PUTS_AT_ONCE,
            ),
        )
        return self._etag(done["e_tag"])

    def delete(self) -> None:
        """Remove the file. It may be missing.

        Raises:
            Refused, Unreachable
        """
        try:
            _asked(self, lambda: obstore.delete(self.store, self.path))
        except Missing:
            return

    def list(self) -> Iterator[Found]:
        """All files in this folder and below it, in the store's order. None where it is missing.

        Raises:
            Refused, Unreachable
        """
        pages = _asked(self, lambda: iter(obstore.list(self.store, self.path)))
        while (page := _asked(self, lambda: next(pages, None))) is not None:
            yield from (self._found(meta) for meta in page)

    def _found(self, meta: Mapping[str, Any]) -> Found:
        name = meta["path"].removeprefix(self.path).lstrip("/")
        of = self.at(name) if name else self
        return Found(of.url, name, meta["size"], self._etag(meta["e_tag"]))

    def _etag(self, said: Optional[str]) -> str:
        """The ETag as answers for one file have it: the lists of Azure leave its quotes out."""
        return f'"{said}"' if self.bucket and said and said[-1] != '"' else said or ""


def place(url: str, environment: Optional[Mapping[str, str]] = None) -> Place:
    """The file or folder with this URL. It asks no store yet.

    `environment`: where its credentials are, instead of what `use` and `using` said.

    Raises:
        BadUrl: the message says what would be right.
    """
    given: Given = credentials.within.get() or credentials.everywhere
    if environment is not None:
        given = functools.partial(dict, environment)
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise BadUrl(f"{url!r}: begin it with one of {', '.join(f'{s}://' for s in SCHEMES[:5])}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise BadUrl(f"{url!r}: write file:///folder, with a path from the root")
        return Place(url, "", _path(unquote(rest)), given)
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise BadUrl(f"{url!r} names no bucket or host")
    if scheme in {"https", "http"}:
        if "?" in key or "#" in key:
            raise BadUrl(f"{url!r}: an address with ? or # cannot be opened")
        key = unquote(key)
    return Place(url, bucket, _path(key), given)


@functools.lru_cache(maxsize=256)  # one has a pool of connections
def _store(scheme: str, bucket: str, told: Told) -> Any:
    retry: Any = {"max_retries": MOST_RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
    client: Any = {
        "timeout": timedelta(seconds=REQUEST_SECONDS),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
    }
    if scheme == "file":
        return LocalStore("/", mkdir=False)
    if scheme in {"https", "http"}:
        client["allow_http"] = scheme == "http"
        return HTTPStore.from_url(f"{scheme}://{bucket}", client_options=client, retry_config=retry)
    config: Any = {name.lower(): value for name, value in told}
    how: Any = {"config": config, "client_options": client, "retry_config": retry}
    if scheme == "gs":
        return GCSStore(bucket, **how)
    client["allow_http"] = any(value.startswith("http://") for value in config.values())
    keys = credentials.keys_of(scheme, config)
    # given as a whole: the library would add what it finds in the environment, such as an old token
    provider = None if keys is None else (lambda: keys)
    if scheme == "az":
        return AzureStore(bucket, credential_provider=provider, **how)
    return S3Store(bucket, credential_provider=provider, **how)


class RangeFile(io.RawIOBase):
    """A file that asks its store for each read. pyarrow reads it without a copy in between."""

    def __init__(self, of: Place, size: int, etag: str) -> None:
        super().__init__()
        self._of, self._size, self._etag = of, size, etag
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Let the next read begin there."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: Optional[int] = -1, /) -> bytes:
        """So many bytes, or fewer at the end of the file."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        pieces = list(self._of.pieces(self._at, end, self._etag))
        self._at = max(self._at, end)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, into: Any, /) -> int:
        """Fill a buffer as far as the file goes."""
        got = self.read(len(into))
        into[: len(got)] = got
        return len(got)


def with_known_key(tries: int, ask: Callable[[], T]) -> T:
    """The answer of a call that is repeated; refused if its key stays unknown, for pods cost money."""
    try:
        return ask()
    except NotKnown as exc:
        if tries < MOST_TRIES_WITHOUT_KEY:
            raise
        raise Refused(str(exc)) from exc


def _asked(of: Place, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (BaseError, OSError) as exc:
        raise _ours(of.url, exc, of.given()) from exc


def _ours(url: str, exc: Exception, given: Mapping[str, str] = os.environ) -> StoreError:
    line = str(exc).partition("\n")[0].strip()
    said = credentials.without_secrets(line, given)[:LONGEST_MESSAGE]
    if any(server in said for server in credentials.GIVES_CREDENTIALS):
        named = credentials.NAMED.get(url.partition(":")[0], "the store's keys")
        return Refused(f"{url}: there are no credentials; set {named} with `fleet secret set`")
    if credentials.NOT_KNOWN.search(str(exc)):
        return NotKnown(f"{url}: the store does not accept the credentials: {said}")
    if isinstance(exc, (FileNotFoundError, NotFoundError)):
        return Missing(f"{url} does not exist")
    if isinstance(exc, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
        return Refused(f"{url} is refused: {said}")
    if isinstance(exc, AlreadyExistsError):
        return AlreadyThere(f"{url} is already there")
    if isinstance(exc, (PreconditionError, NotModifiedError)):
        return Changed(f"{url} changed since it was planned")
    if isinstance(exc, NotSupportedError):
        return Refused(f"{url}: the store cannot do this: {said}")
    return _by_number(url, said, str(exc))


def _by_number(url: str, said: str, long: str) -> StoreError:
    status, os_error = _STATUS.search(long), _OS_ERROR.search(long)
    http = int(status[1]) if status else 0
    number = int(os_error[1]) if os_error else 0
    if http == 404:  # a bucket that is listed
        return Missing(f"{url} does not exist")
    if http == 416 or "Requested range was invalid" in said:
        return Changed(f"{url} is shorter than it was")
    if http == 507 or number in _FULL:
        return Full(f"no room for {url}: {said}")
    if number in _NOT_ALLOWED or (400 <= http < 500 and http not in _AGAIN):
        return Refused(f"{url} is refused: {said}")
    return Unreachable(f"{url}: {said}")


def _path(key: str) -> str:
    return "/".join(part for part in key.split("/") if part)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
