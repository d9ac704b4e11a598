"""Finds the input files of a dataset from URLs, folders and patterns."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

from pods.agent.dataset import formats, stores
from pods.agent.dataset.formats import SinkFormat, SourceFormat, UnknownFormat
from pods.agent.dataset.stores import BadUrl, Found, Missing
from pods.agent.ranges import Compression, Source

COMPRESSIONS: Final = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}
KNOWN: Final = ".parquet, .jsonl and .txt, the last two also as .gz and .zst"
WEB: Final = ("https://", "http://")
_GLOB: Final = re.compile(r"[*?\[]")


class BadDataset(ValueError):
    """The input or the sink cannot be used; the message says why, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A URL with `*`, `**`, `?` or `[abc]` in its path."""

    folder: str  # the URL up to the first of them
    name: re.Pattern[str]  # what follows, as a path

    @classmethod
    def of(cls, url: str) -> "Pattern | None":
        """The pattern in a URL. None: it names one file or one folder."""
        found = _GLOB.search(url)
        if found is None:
            return None
        folder, _, _ = url[: found.start()].rpartition("/")
        if folder.endswith(":/"):
            raise BadDataset(f"{url}: a bucket cannot be a pattern; name it, and give it once each")
        rest = url[len(folder) + 1 :]
        return cls(folder=folder + "/", name=re.compile(_as_regex(rest)))


def source_format(name: str) -> SourceFormat:
    """The format of input files with this name.

    Raises:
        BadDataset: it is unknown, or cannot be loaded.
    """
    try:
        return formats.source_format(name)
    except UnknownFormat as exc:
        raise BadDataset(str(exc)) from exc


def sink_format(name: str) -> SinkFormat:
    """The format of parts with this name. Raises as `source_format`."""
    try:
        return formats.sink_format(name)
    except UnknownFormat as exc:
        raise BadDataset(str(exc)) from exc


def sources(urls: Sequence[str], *, format: str | None = None) -> list[Source]:
    """The files of these URLs, patterns and folders, each once, in the order of their URLs.

    A folder stands for all files in it and below it whose format is known by their name, without
    those with a part of the path that begins with `_` or `.`. `format`: of all of them.

    Raises:
        BadDataset: a URL names no file, or a file of a format that nobody knows.
        StoreError, BadUrl: a store refuses, or does not answer.
    """
    found = {source.url: source for url in urls for source in _of_url(url, format)}
    return [found[url] for url in sorted(found)]


def would_match(url: str, file: str) -> bool:
    """Whether this URL, pattern or folder would take in such a file if it were there."""
    pattern = Pattern.of(url)
    plain = unquote(file) if file.startswith("file:") else file
    if pattern is not None:
        folder = unquote(pattern.folder) if url.startswith("file:") else pattern.folder
        rest = plain.removeprefix(folder)
        return rest != plain and pattern.name.fullmatch(rest) is not None
    whole = unquote(url) if url.startswith("file:") else url
    return plain == whole or plain.startswith(whole.rstrip("/") + "/")


def _of_url(url: str, format: str | None) -> Iterable[Source]:
    pattern = Pattern.of(url) if not url.startswith(WEB) else None
    if pattern is not None:
        listed = (f for f in _listed(pattern.folder) if not _hidden(f.name, signs="."))
        hits = [f for f in listed if pattern.name.fullmatch(f.name)]
        if not hits:
            raise BadDataset(f"no file matches {url}")
        return [_source(found, format) for found in hits]
    if not url.endswith("/"):
        try:
            return [_source(stores.place(url).head(), format)]
        except Missing:
            if url.startswith(WEB):
                raise
    if url.startswith(WEB):
        raise BadUrl(f"{url}: a web server cannot list a folder; name each file")
    hits = [f for f in _listed(url) if not _hidden(f.name) and (format or _format(f.name))]
    if not hits:
        what = "a file of a known format" if format is None else "a file"
        raise BadDataset(f"{url} is neither a file nor a folder with {what} ({KNOWN})")
    return [_source(found, format) for found in hits]


def _listed(folder: str) -> Iterator[Found]:
    try:
        yield from (f for f in stores.place(folder).list() if f.name)
    except Missing as exc:
        raise BadDataset(f"{folder}: no bucket or folder has this name") from exc


def _source(found: Found, format: str | None) -> Source:
    kind = format or _format(found.url)
    if kind is None:
        raise BadDataset(f"{found.url}: say what is in it with --format, or name it {KNOWN}")
    suffix = PurePosixPath(found.url.lower()).suffix
    packed = source_format(kind).packed
    compression = COMPRESSIONS.get(suffix, Compression.NONE) if packed else Compression.NONE
    return Source(found.url, found.etag, found.size, kind, compression)


def _format(name: str) -> str | None:
    path = PurePosixPath(name.lower())
    suffix = path.suffix
    if is_packed := suffix in COMPRESSIONS:
        suffix = path.with_suffix("").suffix
    try:
        found = formats.by_suffix(suffix) if suffix else None
    except UnknownFormat as exc:
        raise BadDataset(str(exc)) from exc
    if found is not None and is_packed and not source_format(found).packed:
        return None
    return found


def _hidden(name: str, *, signs: str = "_.") -> bool:
    return any(part.startswith(tuple(signs)) for part in name.split("/"))


def _as_regex(pattern: str) -> str:
    """`*` and `?` stay within a folder, `**` does not, and `**/` may be nothing."""
    out = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif pattern[at] == "?":
            out, at = out + "[^/]", at + 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            inside = "^" + inside[1:] if inside.startswith("!") else inside
            out, at = f"{out}[{inside}]", end + 1
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return out
