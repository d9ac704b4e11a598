"""Generated secrets, for settings that nobody set."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from config.secrets import kept_secret


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    made = kept_secret(tmp_path / "key")
    assert kept_secret(tmp_path / "key") == made
    assert kept_secret(tmp_path / "other") != made


def test_only_its_owner_can_read_it_and_its_folder(tmp_path: Path) -> None:
    kept_secret(tmp_path / "new" / "key")
    assert stat.S_IMODE((tmp_path / "new" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_processes_that_make_a_secret_at_the_same_time_agree_and_leave_no_drafts(
    tmp_path: Path,
) -> None:
    together = Barrier(8)

    def make(_number: int) -> str:
        together.wait()
        return kept_secret(tmp_path / "key")

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(make, range(8)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_secret_is_long_and_fits_into_an_address(tmp_path: Path) -> None:
    made = kept_secret(tmp_path / "key", length=24)
    assert len(made) >= 32
    assert made.replace("-", "").replace("_", "").isalnum()
