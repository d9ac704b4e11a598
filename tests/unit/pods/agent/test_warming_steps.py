"""What is fetched of a model, when it is not fetched again, and why it cannot be fetched."""

import errno
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pods.agent import warming
from pods.agent.bootstrap import Steps
from pods.agent.start import Failed

NAME = "org/model"


class Ended(Exception):
    """The process has ended with this status."""


def program(folder: Path, *lines: str) -> str:
    """A Python that only prints this."""
    file = folder / "python"
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)
    return str(file)


def fetched(python: str, **env: str) -> tuple[bool, str]:
    steps = Steps()
    return warming._fetched(NAME, python, {**os.environ, **env}, steps), steps.note


@pytest.mark.parametrize(("status", "there"), [(0, True), (warming.EXIT_NO_LIBRARY, False)])
def test_how_far_it_is_is_the_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, there: bool
) -> None:
    lines = ["echo podfleet-model 3000000 2001000000", "echo", "echo a warning", f"exit {status}"]
    note = f"fetching model {NAME}, 3 of 2,001 MB"
    assert fetched(program(tmp_path, *lines)) == (there, note)
    assert capsys.readouterr().out == "a warning\n"


@pytest.mark.parametrize(
    ("lines", "limit", "why"),
    [
        (["echo no access", "echo", "echo podfleet-model 1 2", "exit 1"], "60", "no access"),
        (["exit 7"], "", "its process ended with 7"),
        (["exec sleep 60"], "0.05", r"not there after 0.05 s \(\); raise HANDLER_MODEL_SECONDS"),
    ],
)
def test_a_model_that_cannot_be_fetched_says_why(
    tmp_path: Path, lines: list[str], limit: str, why: str
) -> None:
    with pytest.raises(Failed, match=f"the model {NAME} cannot be fetched: {why}"):
        fetched(program(tmp_path, *lines), HANDLER_MODEL_SECONDS=limit)


@pytest.fixture
def warmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Warm a model; each time what was fetched with which environment."""
    asked = list[Any]()

    def fetch(name: str, python: str, env: Any, steps: Any) -> bool:
        asked.append((name, {n: v for n, v in env.items() if n.startswith(("HF_T", "AWS_"))}))
        return name != "org/no-library"

    def warm(name: str, **secrets: str) -> list[Any]:
        asked.clear()
        warming.warm("python", str(tmp_path), {"HANDLER_MODEL": name}, secrets, Steps())
        return list(asked)

    monkeypatch.setattr(warming, "_fetched", fetch)
    monkeypatch.chdir(tmp_path)
    return warm


def test_a_model_is_fetched_once_with_the_secrets_of_the_hub(warmed: Any) -> None:
    assert warmed(NAME, HF_TOKEN="t", AWS_KEY="k") == [(NAME, {"HF_TOKEN": "t"})]
    assert warmed(NAME) == []
    assert len(warmed("org/other")) == 1
    assert [len(warmed("org/no-library")) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("name", ["", "large-v3-turbo", "/a/folder", "org/here"])
def test_what_is_no_model_of_the_hub_is_not_fetched(warmed: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "org" / "here").mkdir(parents=True)
    assert warmed(name) == []


FILES = [
    "config.json", "a/model.safetensors", "a/model.bin", "b/model.bin", "model.pt", "model.onnx",
    "onnx/model.json", "model.h5", "a/notes.txt",
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ((), ["config.json", "a/model.safetensors", "b/model.bin", "model.pt", "a/notes.txt"]),
        (("onnx/*", "*.json"), ["config.json", "onnx/model.json"]),
    ],
)
def test_one_format_of_the_weights_is_fetched(wanted: Sequence[str], names: list[str]) -> None:
    assert warming.chosen(FILES, wanted=wanted) == names


@pytest.mark.parametrize(
    ("packages", "onnx"),
    [
        ((), False),
        (("onnxruntime",), True),
        (("onnxruntime-gpu",), True),
        (("onnxruntime", "sentence-transformers"), False),
        (("onnxruntime", "faster-whisper"), False),
        (("sentence-transformers",), False),
    ],
)
def test_the_files_of_the_onnx_handler_are_for_an_environment_made_for_it(
    monkeypatch: pytest.MonkeyPatch, packages: Sequence[str], onnx: bool
) -> None:
    def version(package: str) -> str:
        if package not in packages:
            raise metadata.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(warming, "version", version)
    wanted = SimpleNamespace(WANTED=["*.onnx"])
    monkeypatch.setattr(warming, "import_module", lambda name: wanted)
    assert list(warming._wanted()) == (["*.onnx"] if onnx else [])


class Gated(Exception):
    pass


class Absent(Exception):
    pass


class Hub:
    """What the hub's library is to us, with one model of some files."""

    errors = SimpleNamespace(GatedRepoError=Gated, RepositoryNotFoundError=Absent)

    def __init__(self, cache: Path) -> None:
        self.constants = SimpleNamespace(HF_HUB_CACHE=str(cache))
        self.files = {"config.json": 10, "model.safetensors": 90, "model.bin": 80, "odd": None}
        self.fault: Exception | None = None
        self.got = list[str]()
        self.folder = cache / "models--org--model"

    def HfApi(self) -> "Hub":  # noqa: N802 - the library's name
        return self

    def model_info(self, *_: object, **__: object) -> Any:
        if self.fault:
            raise self.fault
        files = [SimpleNamespace(rfilename=n, size=size) for n, size in self.files.items()]
        return SimpleNamespace(siblings=files)

    def snapshot_download(self, name: str, *, allow_patterns: list[str], **_: object) -> None:
        self.got = allow_patterns

    def has(self, size: int, *, incomplete: bool = False) -> None:
        (self.folder / "blobs").mkdir(parents=True)
        blob = "b.incomplete" if incomplete else "b"
        (self.folder / "blobs" / blob).write_bytes(b"x" * size)
        (self.folder / "snapshots" / "abc").mkdir(parents=True)
        (self.folder / "refs").mkdir()
        (self.folder / "refs" / "main").write_text("abc\n")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(warming, "_wanted", lambda: ())
    monkeypatch.setattr(warming, "_tell", lambda *_: None)
    return Hub(tmp_path / "hub")


@pytest.mark.parametrize(
    ("free", "there", "fits"), [(100, 0, True), (99, 0, False), (40, 60, True)]
)
def test_a_model_is_fetched_where_the_disk_has_room_for_what_is_missing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, free: int, there: int, fits: bool
) -> None:
    if there:
        hub.has(there)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if fits:
        warming._fetch(hub, NAME)
        assert hub.got == ["config.json", "model.safetensors", "odd"]
    else:
        with pytest.raises(OSError, match="0 MB are missing, and the disk has 0 MB") as caught:
            warming._fetch(hub, NAME)
        assert caught.value.errno == errno.ENOSPC


def test_a_hub_that_is_away_does_no_harm_where_the_disk_has_the_whole_model(hub: Hub) -> None:
    hub.fault = ConnectionError("away")
    with pytest.raises(ConnectionError):
        warming._fetch(hub, NAME)
    hub.has(100)
    warming._fetch(hub, NAME)
    assert hub.got == []
    shutil.rmtree(hub.folder / "snapshots")
    assert not warming._is_here(hub, NAME)
    shutil.rmtree(hub.folder)
    hub.has(100, incomplete=True)
    assert not warming._is_here(hub, NAME)


@pytest.mark.parametrize(
    ("exc", "token", "why"),
    [
        (Gated(), False, "its owner must allow it; set the secret HF_TOKEN"),
        (Gated(), True,
         "its owner must allow it; ask for access on its page with the user of HF_TOKEN"),
        (Absent(), False, "the hub has no such model, or it is private: set the secret HF_TOKEN"),
        (Absent(), True, "the hub has no such model, or HF_TOKEN may not read it"),
        (OSError(errno.ENOSPC, "5 MB are missing"), False,
         "the disk is full: 5 MB are missing; give the pods a larger disk"),
        (OSError(errno.EIO, "bad disk"), False, "OSError: [Errno 5] bad disk"),
        (ValueError("two\n  lines"), False, "ValueError: two lines"),
        (ValueError(), False, "ValueError"),
    ],
)  # fmt: skip
def test_the_reason_is_one_line_that_says_what_would_be_right(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, exc: Exception, token: bool, why: str
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", "t")
    assert warming._why(hub, NAME, exc) == why


def test_a_fetch_of_which_nothing_comes_any_more_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, blobs = [0.0], tmp_path / "blobs"
    blobs.mkdir()

    def sleep(seconds: float) -> None:
        now[0] += 50
        if now[0] == 100:
            (blobs / "b").write_bytes(b"12")

    def end(status: int) -> None:
        raise Ended(status)

    time = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(warming, "time", time)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended, match="1"):
        warming._tell(blobs, 9)
    assert now[0] == 250  # something came after 100 s
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "podfleet-model 0 9"
    assert said[-2:] == ["podfleet-model 2 9", "nothing came for 120 s"]


@pytest.mark.parametrize(
    ("there", "status"), [("no library", warming.EXIT_NO_LIBRARY), ("a fault", 1), ("all", 0)]
)
def test_the_status_says_whether_the_model_is_there(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    there: str,
    status: int,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None if there == "no library" else hub)  # type: ignore[arg-type]
    hub.fault = ValueError("bad name") if there == "a fault" else None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert warming.main(NAME) == status
    assert capsys.readouterr().out == ("ValueError: bad name\n" if there == "a fault" else "")
