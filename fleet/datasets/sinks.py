"""The folder of parts of a dataset: whether it can be used, and what lies in it."""

import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleet.datasets.listing import BadDataset, would_match
from pods.agent.dataset import stores
from pods.agent.dataset.formats import sink_names
from pods.agent.dataset.stores import BadUrl, Missing, NotKnown, Place, StoreError, Unreachable
from pods.agent.ranges import ERRORS_FOLDER, MANIFEST, SUCCESS, PartName, Source

SCHEMES: Final = ("s3://", "gs://", "az://", "file://")
PROBE: Final = "_podfleet_probe_"
EXAMPLE: Final = "part-0123456789abcdef-0-1"


@dataclass(slots=True, kw_only=True)
class Contents:
    """What lies in a sink."""

    parts: dict[str, "PartFile"] = field(default_factory=dict)  # by their names
    errors: dict[str, int] = field(default_factory=dict)  # the names of their parts -> bytes
    manifest: bool = False
    success: bool = False

    def by_file(self) -> dict[str, list[PartName]]:
        """The parts of each input file, by its key."""
        found: dict[str, list[PartName]] = {}
        for part in self.parts.values():
            found.setdefault(part.part.file, []).append(part.part)
        return found


@dataclass(frozen=True, slots=True)
class PartFile:
    """A part as its store lists it."""

    part: PartName
    size: int  # bytes
    etag: str


def tidy(url: str) -> str:
    """The URL of a sink as it is written down: one `/` at its end.

    Raises:
        BadDataset: it cannot be a sink.
    """
    if not url.startswith(SCHEMES):
        raise BadDataset(
            f"{url}: parts cannot be written there; give a folder that begins with "
            f"{', '.join(SCHEMES)}"
        )
    if any(sign in url for sign in "*?#"):
        raise BadDataset(f"{url}: a sink is one folder, without *, ? or #")
    try:
        place = stores.place(url)
    except BadUrl as exc:
        raise BadDataset(str(exc)) from exc
    scheme, _, rest = url.partition("://")
    bucket = "" if scheme == "file" else rest.partition("/")[0]
    written = rest if scheme == "file" else rest.partition("/")[2]
    path = "/".join(part for part in written.split("/") if part)
    if scheme == "file" and not place.path:
        raise BadDataset(f"{url}: give a folder below the root")
    return f"{scheme}://{bucket}/{path}/" if path else f"{scheme}://{bucket}/"


def real(url: str) -> str:
    """The URL without symbolic links, where it is a folder or a file of this machine."""
    if not url.startswith("file://"):
        return url
    path = os.path.realpath(stores.place(url).key)
    return f"file://{path.rstrip('/')}{'/' if url.endswith('/') else ''}"


def overlap(one: str, other: str) -> bool:
    """Whether a sink is the other one, or lies in it, or has it within.

    Links of this machine are followed, as they are now. A folder may also be mounted twice.
    """
    first, second = real(one), real(other)
    return first.startswith(second) or second.startswith(first) or _is_same_folder(first, second)


def _is_same_folder(one: str, other: str) -> bool:
    if not (one.startswith("file://") and other.startswith("file://")):
        return False
    try:
        return Path(one.removeprefix("file://")).samefile(other.removeprefix("file://"))
    except OSError:  # one of them does not exist yet
        return False


def refuse_input_within(sink: str, urls: Iterable[str], files: Sequence[Source]) -> None:
    """Refuse a sink whose parts would be read as input.

    Raises:
        BadDataset: an input lies in it, or one of the URLs takes in what is written there.
    """
    folder = real(sink)
    for file in files:
        if real(file.url).startswith(folder):
            raise BadDataset(f"{file.url} lies in the sink {sink}; write the parts elsewhere")
    for url in urls:
        for form in sink_names():
            if would_match(url, f"{sink}{EXAMPLE}.{form}"):
                raise BadDataset(
                    f"{url} also takes in the parts in {sink}; write them elsewhere, or give a "
                    "narrower pattern"
                )


def try_to_write(sink: str) -> None:
    """Write a small file into the sink, and remove it again.

    Raises:
        BadDataset: the sink cannot be written, or nothing can be removed from it.
        Unreachable: its store does not answer; that says nothing about the sink.
    """
    probe = stores.place(sink).at(f"{PROBE}{uuid.uuid4().hex}")
    try:
        probe.put(b"podfleet: a test whether this folder can be written")
        probe.delete()
    except Missing as exc:
        raise BadDataset(f"the sink {sink} cannot be written: its bucket does not exist") from exc
    except StoreError as exc:
        if isinstance(exc, Unreachable) and not isinstance(exc, NotKnown):
            raise Unreachable(f"the sink {sink} cannot be tried now: {exc}") from exc
        raise BadDataset(f"the sink {sink} cannot be written: {exc}") from exc


def contents(sink: str) -> Contents:
    """The names of all parts in a sink. One without a file is empty.

    Raises:
        StoreError: the store refuses, or does not answer.
    """
    there = Contents()
    try:
        for found in stores.place(sink).list():
            _add(there, found.name, found.size, found.etag)
    except Missing:
        return Contents()
    return there


def _add(there: Contents, name: str, size: int, etag: str) -> None:
    folder, _, last = name.rpartition("/")
    if name == MANIFEST:
        there.manifest = True
    elif name == SUCCESS:
        there.success = True
    elif (part := PartName.parse(last)) is None:
        return
    elif not folder:
        there.parts[name] = PartFile(part, size, etag)
    elif folder == ERRORS_FOLDER:
        there.errors[last] = size


def remove_ends(sink: str) -> None:
    """Remove what says that the sink is complete, before more ranges are planned."""
    folder: Place = stores.place(sink)
    folder.at(SUCCESS).delete()
    folder.at(MANIFEST).delete()
