"""Which authority of Redis a pod pins, and what is said about a file that has none."""

import base64
from pathlib import Path

import pytest

from pods.accounts import redis_ca
from pods.accounts.redis_ca import BadAuthority

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
DER = base64.b64encode(b"a certificate").decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text(PEM.format(DER))
    return file


def test_the_certificates_of_the_file_take_the_place_of_its_name(file: Path) -> None:
    address, authority = redis_ca.pinned(f"rediss://h:6379/0?ssl_ca_certs={file}&socket_timeout=3")
    assert address == "rediss://h:6379/0?socket_timeout=3"
    assert base64.b64decode(authority) == b"a certificate"


@pytest.mark.parametrize("address", ["rediss://h:6379/0", "redis://h:6379/0?ssl_ca_certs=/no/file"])
def test_an_address_that_checks_no_authority_of_its_own_stays(address: str) -> None:
    assert redis_ca.pinned(address) == (address, "")


def test_the_bundle_of_a_whole_system_stays_the_name_of_a_file(file: Path) -> None:
    file.write_bytes(b"x" * (redis_ca.LONGEST + 1))
    address = f"rediss://h:6379/0?ssl_ca_certs={file}"
    assert redis_ca.pinned(address) == (address, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no certificate; give PEM"),
        (PEM.format("x"), "has a damaged certificate"),
        (None, "the authority of Redis cannot be read"),
    ],
)
def test_a_file_without_an_authority_is_refused(file: Path, text: str | None, says: str) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(BadAuthority, match=says):
        redis_ca.pinned(f"rediss://h:6379/0?ssl_ca_certs={file}")
