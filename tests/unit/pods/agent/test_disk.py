"""A disk that many pods use keeps what is in use, and loses what none has used for long."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pods.agent import disk
from tests.support.waiting import until

DAYS = 14
LONG_AGO = time.time() - 15 * disk.DAY_SECONDS


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code" / "abc"
    folder.mkdir(parents=True)
    (folder / "a.py").touch()
    (tmp_path / "code" / "abc.zip").touch()
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def test_what_none_used_for_long_is_deleted_with_its_archive(tmp_path: Path, code: Path) -> None:
    assert disk.sweep(tmp_path, DAYS) == 1
    assert [p.name for p in code.parent.iterdir()] == ["abc.used"]
    assert disk.sweep(tmp_path, DAYS) == 0


def test_what_was_used_lately_stays(tmp_path: Path, code: Path) -> None:
    lock = disk.Lock(code)
    lock.share()
    lock.release()
    assert disk.sweep(tmp_path, DAYS) == 0
    assert code.exists()


def test_what_a_process_uses_stays_also_after_it_has_become_another_program(
    tmp_path: Path, code: Path
) -> None:
    program = (
        "import os,pathlib,sys;from pods.agent import disk;"
        "disk.Lock(pathlib.Path(sys.argv[1])).share();"
        "print('held',flush=True);os.execv('/bin/sleep',['sleep','60'])"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(code)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
        os.utime(code, (LONG_AGO, LONG_AGO))
        assert disk.sweep(tmp_path, DAYS) == 0
    finally:
        holder.kill()
        holder.wait()
    assert disk.sweep(tmp_path, DAYS) == 1


def test_what_a_dead_sweep_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "environments" / "e1.deleted"
    left.mkdir(parents=True)
    assert disk.sweep(tmp_path, DAYS) == 0
    assert not left.exists()


def test_a_disk_without_code_is_swept_too(tmp_path: Path) -> None:
    assert disk.sweep(tmp_path / "none", DAYS) == 0


def test_many_pods_use_a_folder_at_once(code: Path) -> None:
    locks = [disk.Lock(code), disk.Lock(code)]
    for lock in locks:
        lock.share()  # the second one would wait for ever, if the first one had the folder alone
    assert not disk.Lock(code).alone_at_once()


def test_a_folder_that_is_not_there_yet_can_be_used(tmp_path: Path) -> None:
    lock = disk.Lock(tmp_path / "code" / "new")
    lock.share()
    lock.release()


def test_a_link_to_another_folder_is_not_followed_and_stays(tmp_path: Path, code: Path) -> None:
    link = code.parent / "link"
    link.symlink_to(code)
    assert disk.sweep(tmp_path, DAYS) == 1
    assert link.is_symlink()


def test_a_folder_that_a_pod_began_to_use_meanwhile_stays(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone_at_once = disk.Lock.alone_at_once

    def used_before(lock: disk.Lock) -> bool:
        os.utime(code)
        return alone_at_once(lock)

    monkeypatch.setattr(disk.Lock, "alone_at_once", used_before)
    assert disk.sweep(tmp_path, DAYS) == 0
    assert code.exists()
