"""References to secrets: where they lead, and the messages if they lead nowhere."""

import os
from pathlib import Path

import pytest

from pods.accounts import connecting


def test_a_file_and_a_variable_are_read_without_the_space_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("k-123\n")
    monkeypatch.setenv("VENDOR_KEY", "k-456")
    assert connecting.read_secret(f"file:{tmp_path / 'key'}") == "k-123"
    assert connecting.read_secret("env:VENDOR_KEY") == "k-456"
    assert connecting.read_secret("") is None


@pytest.mark.timeout(10)
def test_a_file_that_never_ends_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for where in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(connecting.BadSecret, match="not a regular file; put the key into one"):
            connecting.read_secret(f"file:{where}")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; put the key there"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"k" * (connecting.LONGEST_SECRET + 1), "longer than 65536 bytes"),
    ],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(connecting.BadSecret, match=says):
        connecting.read_secret(f"file:{tmp_path / 'key'}")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("file:/no/such/file", "No such file"),
        ("file:/a\0b", "not text in UTF-8|Invalid|embedded null"),
        ("env:NO_SUCH_VARIABLE_HERE", "is empty"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_would_be_right(reference: str, says: str) -> None:
    with pytest.raises(connecting.BadSecret, match=says):
        connecting.read_secret(reference)


def test_a_key_typed_as_a_reference_is_not_repeated() -> None:
    with pytest.raises(connecting.BadSecret, match="must be env:NAME or file:/path") as caught:
        connecting.read_secret("rpa_SECRET")
    assert "SECRET" not in str(caught.value)
