"""Numbers in messages agree with their nouns."""

import pytest

from pods.plural import plural


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("pod", "pods"),
        ("dead letter", "dead letters"),
        ("process", "processes"),
        ("batch", "batches"),
        ("try", "tries"),
    ],
)
def test_one_stands_alone_and_every_other_number_takes_the_plural(noun: str, many: str) -> None:
    assert [plural(n, noun) for n in (0, 1, 1200)] == [f"0 {many}", f"1 {noun}", f"1,200 {many}"]
