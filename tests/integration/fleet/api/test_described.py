"""Whatever the description allows or forbids, the API answers as the description says."""

from collections.abc import Iterator
from typing import Any

import pytest
from schemathesis import GenerationMode

from tests.support import described
from tests.support.api import a_client, one_connection
from tests.support.api_rows import rows_for_every_operation

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture(autouse=True)
def _rows(redis_url: str, settings: Any) -> Iterator[None]:
    settings.API_REQUESTS_PER_MINUTE = settings.API_FAILURES_PER_MINUTE = 10**6
    rows_for_every_operation(redis_url)
    with one_connection():
        yield


def told(wrong: dict[str, str]) -> str:
    return "\n\n".join(f"{label}: {said}" for label, said in wrong.items())


@pytest.mark.takes(20)
@pytest.mark.parametrize(
    ("mode", "examples"), [(GenerationMode.POSITIVE, 1), (GenerationMode.NEGATIVE, 1)]
)
def test_every_answer_is_as_described(mode: GenerationMode, examples: int) -> None:
    secret = a_client("admin").secret
    wrong = described.wrong_answers(secret, examples=examples, mode=mode)
    assert not wrong, told(wrong)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_every_answer_to_a_role_is_as_described(role: str, mode: GenerationMode) -> None:
    wrong = described.wrong_answers(a_client(role).secret, examples=20, mode=mode)
    assert not wrong, told(wrong)
