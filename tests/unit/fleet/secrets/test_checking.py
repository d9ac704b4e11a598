"""Which names and values a secret may have."""

import pytest
from django.core.exceptions import ValidationError

from fleet.secrets import checking


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_ACCESS_KEY_ID", "_x", "dbPassword2", "PATH_TO_X"]
)
def test_a_name_of_a_variable_is_accepted(name: str) -> None:
    checking.check_name(name)


@pytest.mark.parametrize("name", ["", "2FA", "A-B", "A B", "A=b", "Ä", "A\n", "A\0", "A" * 101])
def test_another_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ValidationError, match="not the name of an environment variable") as said:
        checking.check_name(name)
    assert len(name) < 3 or name not in str(said.value)


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "path", "PODFLEET_REDIS_URL", "PYTHONPATH", "PythonStartup", "LD_PRELOAD"),
        *("DYLD_INSERT_LIBRARIES", "REDIS_URL", "HOME", "BASH_ENV", "LC_ALL", "GLIBC_TUNABLES"),
    ],
)
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is reserved"):
        checking.check_name(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "is empty"),
        ("a\0b", "NUL"),
        ("\udcff", "not text in UTF-8"),
        ("x" * 65_537, "65,537 bytes; a secret has at most 65,536"),
        ("ä" * 32_769, "65,538 bytes"),
    ],
)
def test_a_value_that_no_variable_holds_is_refused(value: str, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        checking.check_value(value)


def test_the_largest_value_is_accepted() -> None:
    checking.check_value("x" * 65_536)
    checking.check_sum(1_048_576)
    with pytest.raises(ValidationError, match="1,048,577 bytes in all"):
        checking.check_sum(1_048_577)
