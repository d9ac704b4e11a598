"""A pod's page says in plain words why the pod does not reach Redis."""

import pytest

from pods.redis_refusals import said_by

START = "podfleet: no Redis yet: "
BEAT = "2026-12-01 08:00:00 WARNING heartbeat_failed because='Error 1 connecting to h:6380. "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            START + "[SSL: CERTIFICATE_VERIFY_FAILED] … certificate has expired (_ssl.c:1)",
            "expired",
        ),
        (BEAT + "[SSL: CERTIFICATE_VERIFY_FAILED] … certificate is not yet valid'", "clocks"),
        (START + "[SSL: CERTIFICATE_VERIFY_FAILED] … Hostname mismatch, …", "another name"),
        (START + "[SSL: CERTIFICATE_VERIFY_FAILED] … IP address mismatch, …", "another name"),
        (BEAT + "[SSL: CERTIFICATE_VERIFY_FAILED] … unable to get local issuer'", "the authority"),
        (BEAT + "[SSL: WRONG_VERSION_NUMBER] wrong version number'", "does not speak TLS"),
        (START + "_ssl.c:989: The handshake operation timed out", "does not speak TLS"),
        (BEAT[:70] + "the TLS handshake timed out'", "does not speak TLS"),
        (START + "WRONGPASS invalid username-password pair", "refuses the login"),
        (BEAT + "invalid username-password pair or user is disabled.'", "refuses the login"),
        (START + "[Errno -2] Name or service not known", "is not known where the pod runs"),
        (START + "[Errno 111] Connection refused", "open its port"),
        (BEAT + "timed out'", "open its port"),
        ("ConnectionRefusedError: of the handler's own service, Connection refused", ""),
        (START + "something new", ""),
        ("", ""),
    ],
)
def test_the_reason_is_said_in_plain_words(line: str, said: str) -> None:
    found = said_by(f"first line\n{line}\nlast line")
    assert (said in found) if said else not found


def test_the_last_line_about_redis_counts() -> None:
    lines = [START + "[Errno 111] Connection refused", START + "certificate has expired"]
    assert "expired" in said_by("\n".join(lines))
