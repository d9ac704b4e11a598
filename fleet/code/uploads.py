"""Reads code that somebody sent: a zip, a tar.gz or one script. Nothing of it is run."""

import io
import json
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Final

from fleet.code import inspecting, leaving_out, packing
from fleet.code.dependencies import BadCode
from fleet.code.leaving_out import IGNORE_FILE, Ignore
from fleet.code.packing import Packed

ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
GZIP: Final = b"\x1f\x8b"
LARGEST_UNPACKED: Final = 10 * packing.LARGEST_BYTES
# What the standard library raises for an archive that is damaged, encrypted or of an unknown method.
WRONG: Final = (
    *(OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(struct.error, RuntimeError, UnicodeDecodeError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What packed code is made of, without its content."""

    files: Sequence[tuple[str, int]] = ()  # path and bytes
    sums: Mapping[str, int] = field(default_factory=dict)  # by path
    requirements: Sequence[str] = ()
    python: str = ""


def packed_of(body: bytes, *, name: str = "", handler: str = "", present: str = "") -> Packed:
    """Pack what was sent, with the checks of a script or folder on disk.

    `name`: of the file, for people; of a script it is also the module. `handler`: the wanted one; ""
    keeps `present`, the fleet's own. A script of another name than that has `handle`.

    Raises:
        BadCode: the code cannot work, or is too large; the message says where and what would be right.
    """
    if len(body) > packing.LARGEST_BYTES:
        raise BadCode(f"the code has {packing.megabytes(len(body))}; {packing.too_large()}")
    if not body:
        raise BadCode("the file is empty; send a .py, .zip or .tar.gz")
    name = PurePosixPath(name.replace("\\", "/")).name
    if not body.startswith((*ZIP, GZIP)):
        return _script(body, name, handler, present)
    left_out: list[str] = []
    try:
        files = dict(_kept(_entries(body), left_out))
    except WRONG as exc:
        kind = "tar.gz" if body.startswith(GZIP) else "zip"
        raise BadCode(f"the {kind} is damaged or not one: {exc}") from exc
    files = _without_ignored(_without_environments(files, left_out), left_out)
    if not handler and not present:
        raise BadCode("an archive is a folder; say what to call as the handler module:function")
    source = name or "an archive"
    return packing.packed_of(files, handler or present, source=source, left_out=left_out)


def _script(body: bytes, name: str, handler: str, present: str) -> Packed:
    module = (handler or present).partition(":")[0]
    if not name:
        if not module or "." in module:
            raise BadCode("say what the script is called: its name, such as embed.py")
        name = f"{module}.py"
    path = PurePosixPath(name)
    if path.suffix != ".py":
        raise BadCode(f"{name} is not a .py, .zip or .tar.gz")
    inspecting.check_module(path.stem, name)
    if not handler:
        keeps = present.partition(":")[0] == path.stem
        handler = present if keeps else f"{path.stem}:handle"
    return packing.packed_of({name: body}, handler, source=name, script=name)


def _entries(body: bytes) -> Iterator[tuple[str, bool, IO[bytes] | None]]:
    """The path of each file, whether it is a link, and what it holds; folders are not named."""
    if body.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(body)) as opened:
            for info in opened.infolist():
                if info.is_dir():
                    continue
                link = stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, link, None if link else opened.open(info)
        return
    with tarfile.open(fileobj=io.BytesIO(body), mode="r|gz") as tar:
        for member in tar:
            if not member.isdir():
                whole = member.isfile()
                yield member.name, not whole, tar.extractfile(member) if whole else None


def _kept(
    entries: Iterator[tuple[str, bool, IO[bytes] | None]], left_out: list[str]
) -> Iterator[tuple[str, bytes]]:
    """The files of the archive that are code, each once.

    Raises:
        BadCode: a path leads out of the archive or is there twice, or there is too much.
    """
    seen: set[str] = set()
    size = 0
    for number, (path, link, opened) in enumerate(entries, start=1):
        name = _inside(path)
        if number > packing.MOST_FILES:
            raise BadCode(
                f"the archive has more than {packing.MOST_FILES:,} files; {packing.too_large()}"
            )
        # A link could lead anywhere, so none is followed.
        if link or opened is None or leaving_out.in_such_folder(PurePosixPath(name)):
            left_out.append(name)
            continue
        if name in seen:
            raise BadCode(f"{name} is in the archive twice; leave one")
        seen.add(name)
        with opened:
            found = opened.read(LARGEST_UNPACKED - size + 1)
        size += len(found)
        if size > LARGEST_UNPACKED:
            raise BadCode(
                f"the archive has more than {packing.megabytes(LARGEST_UNPACKED)} unpacked; "
                + packing.too_large()
            )
        yield name, found


def _without_environments(files: Mapping[str, bytes], left_out: list[str]) -> dict[str, bytes]:
    """The files that are not in the folder of an environment."""
    ending = "/pyvenv.cfg"
    folders = tuple(f"{name.removesuffix(ending)}/" for name in files if name.endswith(ending))
    left_out += folders
    return {name: body for name, body in files.items() if not name.startswith(folders)}


def _without_ignored(files: Mapping[str, bytes], left_out: list[str]) -> dict[str, bytes]:
    """The files that neither our list nor the archive's own `.podfleetignore` leaves out."""
    ignore = Ignore.of(files.get(IGNORE_FILE, b""))
    gone = [name for name in files if ignore.leaves_out_file(PurePosixPath(name))]
    left_out += gone
    return {name: body for name, body in files.items() if name not in {*gone}}


def _inside(path: str) -> str:
    """A path of an archive as it is within the code.

    Raises:
        BadCode: it leads out of the archive, or no file system has it.
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part not in {"", "."}]
    odd = path.startswith(("/", "\\")) or path[1:2] == ":" or ".." in parts
    if odd or not parts or not path.isprintable() or len(path) > 1000:
        raise BadCode(
            f"the archive has the path {path[:100]!r}; paths must be relative and stay inside it"
        )
    return "/".join(parts)


def described(archive: bytes) -> Description:
    """What packed code is made of. Our own file in it is not shown."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        bundle = json.loads(opened.read(packing.BUNDLE))
        there = [info for info in opened.infolist() if info.filename != packing.BUNDLE]
    return Description(
        files=[(info.filename, info.file_size) for info in there],
        sums={info.filename: info.CRC for info in there},
        requirements=bundle["requirements"],
        python=bundle.get("python", ""),
    )


def changed(before: Description, after: Description) -> int:
    """How many files differ: changed, new or gone."""
    names = before.sums.keys() | after.sums.keys()
    return sum(before.sums.get(name) != after.sums.get(name) for name in names)
