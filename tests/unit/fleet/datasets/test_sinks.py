"""Whether a sink can be used, as its store answers."""

from collections.abc import Callable
from typing import Any

import pytest

from fleet.datasets import sinks
from fleet.datasets.listing import BadDataset
from pods.agent.dataset import stores
from pods.agent.dataset.stores import Missing, NotKnown, Place, Refused, StoreError, Unreachable

SINK = "s3://bucket/out/"


@pytest.mark.parametrize(
    ("answer", "raised", "words"),
    [
        (
            Unreachable("timeout"),
            Unreachable,
            "the sink s3://bucket/out/ cannot be tried now: time",
        ),
        (NotKnown("no such key"), BadDataset, "cannot be written: no such key"),
        (Refused("not allowed"), BadDataset, "cannot be written: not allowed"),
        (Missing("no bucket"), BadDataset, "cannot be written: its bucket does not exist"),
    ],
)
def test_a_store_that_does_not_answer_says_nothing_about_the_sink(
    answer: StoreError, raised: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: Place, __: Callable[[], Any]) -> Any:
        raise answer

    monkeypatch.setattr(stores, "_asked", ask)
    with pytest.raises(raised, match=words):
        sinks.try_to_write(SINK)
