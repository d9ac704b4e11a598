"""Packs a script or a folder into an archive that is the same for the same code. No rows."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleet.code import dependencies, inspecting, leaving_out, pythons, ready
from fleet.code.dependencies import BadCode
from fleet.code.leaving_out import IGNORE_FILE, SECRET_FOLDERS, Ignore

LARGEST_BYTES: Final = 50 * 1024 * 1024
MOST_FILES: Final = 10_000
BUNDLE: Final = ".podfleet/bundle.json"  # what start-up needs to know: see pods/agent/bootstrap.py
# The oldest time that a zip can hold; the real ones would change the digest.
EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A fleet's code, ready to be stored."""

    digest: str  # SHA-256 of the archive
    archive: bytes
    source: str  # the name of the script or the folder, for people
    handler: str  # package.module:function
    requirements: Sequence[str]
    python: str  # which Pythons it runs on, such as ">=3.12"; "": any
    left_out: Sequence[str]  # paths, for people; a folder ends with /


def pack(path: Path, handler: str = "") -> Packed:
    """Pack a script, or all files of a folder, and check it without running it.

    `handler`: of a script, `handle` in it where it is empty.

    Raises:
        BadCode: the code cannot work, or is too large; the message says where and what would be right.
    """
    if not path.exists():
        raise BadCode(f"{path} does not exist")
    if path.is_file() and path.suffix != ".py":
        raise BadCode(f"{path.name} is not a Python script; give a file NAME.py or a folder")
    _check_named(path)
    left_out: list[str] = []
    files = dict(_read(path, left_out))
    if not handler:
        if not path.is_file():
            raise BadCode(f"{path} is a folder; say what to call with --handler module:function")
        handler = f"{path.stem}:handle"
    script = path.name if path.is_file() else ""
    source = path.resolve().name
    return packed_of(files, handler, source=source, script=script, left_out=left_out)


def packed_of(
    files: Mapping[str, bytes],
    handler: str,
    *,
    source: str,
    script: str = "",
    left_out: Sequence[str] = (),
) -> Packed:
    """Pack these files, by their path. `script`: the name of the only one; "": they are a folder.

    Raises:
        BadCode: the code cannot work, or is too large; the message says where and what would be right.
    """
    sources = {name: body for name, body in files.items() if name.endswith(".py")}
    paths = ["src", "."] if any(name.startswith("src/") for name in sources) else ["."]
    inspecting.check(sources, handler, paths)
    ready.check(handler)
    wants = dependencies.of_files(files, script=script)
    python = pythons.of_files(files, script=script)
    # With the handler, another one of the same files is other code too: its pods are replaced.
    bundle: dict[str, Any] = {"requirements": wants, "paths": paths, "handler": handler}
    if python:
        bundle["python"] = python
    archive = _archive({**files, BUNDLE: json.dumps(bundle, sort_keys=True).encode()})
    if len(archive) > LARGEST_BYTES:
        raise BadCode(f"{source} has {megabytes(len(archive))} packed; {too_large()}")
    return Packed(
        digest=hashlib.sha256(archive).hexdigest(),
        archive=archive,
        source=source,
        handler=handler,
        requirements=wants,
        python=python,
        left_out=left_out,
    )


def _check_named(path: Path) -> None:
    """Refuse a script that no pod can import, or that is a link to what is never sent."""
    if not path.is_file():
        return
    inspecting.check_module(path.stem, path.name)
    target = path.resolve()
    secret = leaving_out.matches(target.name, leaving_out.FILES) or {*SECRET_FOLDERS} & {
        *target.parts
    }
    if path.is_symlink() and secret:
        raise BadCode(
            f"{path.name} is a link to {target.name}, which looks like a secret and is never sent"
        )


def megabytes(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size / 2**20:,.1f} MB"


def too_large() -> str:
    """How much is sent, and what to do with more."""
    return (
        f"at most {LARGEST_BYTES // 2**20} MB are sent to pods. Leave data and model weights out, and "
        "let the handler load them on the pod"
    )


def _read(path: Path, left_out: list[str]) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        yield path.name, _body(path)
        return
    ignore = _ignore(path)
    size = count = 0
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        for name in sorted(folders):
            there = here / name
            inside = there.relative_to(path)
            own = leaving_out.matches(name, leaving_out.FOLDERS) or _is_environment(there)
            if own or there.is_symlink() or ignore.leaves_out(inside, folder=True):
                folders.remove(name)
                left_out.append(f"{inside.as_posix()}/")
        folders.sort()
        for name in sorted(names):
            file = here / name
            inside = file.relative_to(path)
            away = not file.is_file() or _leads_away(file, path)
            if away or ignore.leaves_out_file(inside):
                left_out.append(inside.as_posix())
                continue
            # Ten times as much is read at most: code packs well, and memory has an end.
            size, count = size + file.stat().st_size, count + 1
            if size > 10 * LARGEST_BYTES or count > MOST_FILES:
                raise BadCode(
                    f"{path} has {count:,} files with {megabytes(size)} or more; {too_large()}"
                )
            yield inside.as_posix(), _body(file)


def _ignore(path: Path) -> Ignore:
    file = path / IGNORE_FILE
    return Ignore.of(_body(file)) if file.is_file() else Ignore()


def _body(file: Path) -> bytes:
    try:
        if file.stat().st_size > 10 * LARGEST_BYTES:
            raise BadCode(f"{file} has {megabytes(file.stat().st_size)}; {too_large()}")
        return file.read_bytes()
    except OSError as exc:
        raise BadCode(f"{file} cannot be read: {exc.strerror}") from exc


def _leads_away(file: Path, root: Path) -> bool:
    """Whether a file is a link out of the folder `root`, or to a file that is never sent."""
    if not file.is_symlink():
        return False
    target, root = file.resolve(), root.resolve()
    if not target.is_relative_to(root):
        return True
    inside = target.relative_to(root)
    return leaving_out.never_sent(inside) or any(
        _is_environment(root / at) for at in inside.parents
    )


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()


def _archive(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, files[name])
    return made.getvalue()
