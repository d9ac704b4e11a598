"""What is taken of an archive that somebody sent, what is left out, and what is refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from fleet.code import packing, uploads
from fleet.code.dependencies import BadCode
from fleet.code.packing import pack
from fleet.code.uploads import packed_of

HANDLER = b"def handle(batch):\n    return [1 for _ in batch]\n"
FILES = {"work/main.py": HANDLER, "requirements.txt": b"six\n"}


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return made.getvalue()


def tarred(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return made.getvalue()


@pytest.mark.parametrize("made", [zipped, tarred])
def test_an_archive_is_the_same_code_as_its_folder(made: object, tmp_path: Path) -> None:
    for name, body in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    there = pack(tmp_path, "work.main:handle")
    sent = packed_of(made(FILES), name="x", handler="work.main:handle")  # type: ignore[operator]
    assert (sent.digest, sent.requirements) == (there.digest, ["six"])
    assert packed_of(zipped(FILES), present="work.main:handle").digest == there.digest


def test_a_script_is_the_same_code_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "embed.py"
    file.write_bytes(HANDLER)
    assert packed_of(HANDLER, name="embed.py").digest == pack(file).digest
    assert packed_of(HANDLER, present="embed:handle").digest == pack(file).digest
    with pytest.raises(BadCode, match="say what the script is called"):
        packed_of(HANDLER, present="my.package:handle")


def test_an_archive_may_bring_a_podfleetignore_as_a_folder_does() -> None:
    more = {"data/a.bin": b"x", "tokens.txt": b"x", ".envrc": b"x", "secrets/db.txt": b"x"}
    ignore = {".podfleetignore": b"data/\n!tokens.txt\n"}
    found = packed_of(tarred({**FILES, **more, **ignore}), handler="work.main:handle")
    assert {*found.left_out} == {"secrets/db.txt", "data/a.bin", ".envrc", ".podfleetignore"}
    there = [name for name, _ in uploads.described(found.archive).files]
    assert there == ["requirements.txt", "tokens.txt", "work/main.py"]


def test_secrets_links_and_environments_are_left_out_and_named() -> None:
    more = {".git/config": b"x", ".env": b"x", "env/pyvenv.cfg": b"", "env/lib/a.py": b"("}
    found = packed_of(
        tarred({**FILES, **more}, {"work/passwd": "/etc/passwd"}), handler="work.main:handle"
    )
    assert set(found.left_out) == {".git/config", ".env", "work/passwd", "env/"}
    there = uploads.described(found.archive)
    assert [name for name, _ in there.files] == ["requirements.txt", "work/main.py"]


@pytest.mark.parametrize(
    "path", ["../a.py", "/etc/a.py", "a/../../b.py", "C:/a.py", "a\\..\\..\\b"]
)
def test_a_path_out_of_the_archive_is_refused(path: str) -> None:
    for made in (zipped, tarred):
        with pytest.raises(BadCode, match="must be relative"):
            packed_of(made({path: b"x"}), handler="a:b")


def test_what_is_damaged_too_large_or_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for body, says in (
        (b"", "the file is empty"),
        (zipped(FILES)[:60], "zip is damaged"),
        (tarred(FILES)[:60], "tar.gz is damaged"),
        (b"\x1f\x8bnothing", "tar.gz is damaged"),
        (zipped({"main.py": b"def handle(:\n"}), "line 1"),
        (zipped({"main.py": b""}), "no module work"),
        (b"\x89PNG\x00\xff", "photo.png is not a .py"),
    ):
        with pytest.raises(BadCode, match=says):
            packed_of(body, name="photo.png", handler="work.main:handle")
    with pytest.raises(BadCode, match="an archive is a folder"):
        packed_of(zipped(FILES))
    monkeypatch.setattr(uploads, "LARGEST_UNPACKED", 1000)
    with pytest.raises(BadCode, match="unpacked"):
        packed_of(zipped({"main.py": b"#" * 2000}), handler="main:handle")
    monkeypatch.setattr(packing, "LARGEST_BYTES", 10)
    with pytest.raises(BadCode, match="the code has"):
        packed_of(b"#" * 20, name="embed.py")


def test_files_that_differ_are_counted() -> None:
    before = uploads.described(packed_of(zipped(FILES), handler="work.main:handle").archive)
    other = {"work/main.py": HANDLER + b"#", "work/more.py": b""}
    after = uploads.described(packed_of(zipped(other), handler="work.main:handle").archive)
    assert uploads.changed(before, after) == 3
    assert uploads.changed(before, before) == 0
