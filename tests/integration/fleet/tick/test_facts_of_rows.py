"""What a tick counts of the rows of a dataset, and from where failed rows count."""

from typing import Any

import pytest

from fleet.backlog.base import Depth, RowCounts
from fleet.decision.values import RowsFailed
from fleet.models import Backlog, Dataset, Fleet
from fleet.tick import rows
from pods.agent.ranges import Receipt
from pods.base.redis import redis_client
from tests.support.factories import NOON, a_fleet, policy, seconds, snapshot

pytestmark = pytest.mark.django_db
EARLIER, LATER = NOON - seconds(9), NOON + seconds(9)


def a_dataset(fleet: Fleet, **values: Any) -> Dataset:
    facts = {"sink": f"file:///{fleet.pk}", "part_format": "jsonl", "fed_at": NOON}
    made: Dataset = Dataset.objects.create(fleet=fleet, **{**facts, **values})
    return made


def counts(done: int = 0, failed: int = 0, **values: int) -> RowCounts:
    return RowCounts(done=done, failed=failed, **values)


@pytest.mark.parametrize(
    ("backlog", "row", "asks"),
    [
        (Backlog.REDIS_STREAM, {}, None),
        (Backlog.DATASET, None, False),
        (Backlog.DATASET, {}, True),
        (Backlog.DATASET, {"finished_at": NOON}, False),
    ],
)
def test_ranges_must_be_somewhere_while_a_dataset_is_not_finished(
    backlog: Backlog, row: dict[str, Any] | None, asks: bool | None
) -> None:
    fleet = a_fleet()
    a_dataset(a_fleet())
    fleet.backlog = backlog
    if row is not None:
        a_dataset(fleet, **row)
    assert rows.of_dataset(fleet).get("fed") is asks


def test_a_fleet_that_is_not_saved_has_no_dataset() -> None:
    assert rows.of_dataset(Fleet(name="new", backlog=Backlog.DATASET))["fed"] is False


def test_what_a_snapshot_has_of_the_backlog() -> None:
    fleet = a_fleet()
    a_dataset(fleet)
    assert rows.of_the_backlog(fleet, None) == {"depth": None}
    seen = rows.of_the_backlog(fleet, Depth(waiting=1, pending=2))
    assert (seen["depth"], seen["rows_failed"]) == (3, None)
    seen = rows.of_the_backlog(fleet, Depth(waiting=1, pending=2, rows=counts(8, 2)))
    assert seen["rows_failed"] == RowsFailed(failed=2, rows=10)


@pytest.mark.parametrize(
    ("asked", "row", "begin"),
    [
        (None, {}, (0, 0, False)),
        (None, {"counted_from_rows": 12, "counted_from_failed": 2}, (12, 2, False)),
        (NOON, {}, (12, 2, True)),
        (NOON, {"counted_from": EARLIER}, (12, 2, True)),
        (NOON, {"counted_from": NOON, "counted_from_rows": 5}, (5, 0, False)),
        (NOON, {"counted_from": LATER, "counted_from_rows": 5}, (5, 0, False)),
        # The counts fell: they began anew with their Redis.
        (None, {"counted_from_rows": 13, "counted_from_failed": 2}, (0, 0, False)),
        (None, {"counted_from_rows": 12, "counted_from_failed": 3}, (0, 0, False)),
    ],
)
def test_from_where_failed_rows_count(
    asked: Any, row: dict[str, Any], begin: tuple[int, int, bool]
) -> None:
    found = rows._Begin.of(Fleet(try_again_at=asked), Dataset(**row), counts(10, 2))
    assert (found.rows, found.failed, found.anew) == begin


@pytest.mark.parametrize(
    ("row", "found"),
    [(None, None), ({"finished_at": NOON}, None), ({}, RowsFailed(failed=2, rows=9))],
)
def test_failed_rows_count_while_the_dataset_is_not_finished(
    row: dict[str, Any] | None, found: RowsFailed | None
) -> None:
    fleet = a_fleet()
    a_dataset(a_fleet(), counted_from_rows=1)
    if row is not None:
        a_dataset(fleet, **row)
    assert rows._failed(fleet, counts(7, 2)) == found


@pytest.mark.parametrize(
    ("done", "failed", "asks"),
    [(985, 14, False), (989, 11, True), (990, 10, False)],  # 1 % of at least 1,000 rows
)
def test_errors_are_read_only_if_too_many_rows_failed(
    monkeypatch: pytest.MonkeyPatch, done: int, failed: int, asks: bool
) -> None:
    fleet = a_fleet(tolerated_failure_percent=1)
    a_dataset(fleet)
    monkeypatch.setattr(rows, "_errors", lambda _: "no column x")
    found = rows._failed(fleet, counts(done, failed))
    assert found is not None
    assert found.because == ("no column x" if asks else "")


def receive(address: str, fleet: Fleet, *samples: str) -> None:
    receipt = Receipt(
        range="r", source="s", start=0, end=None, rows=9, done=9 - len(samples),
        failed=len(samples), part_bytes=1, seconds=1.0, part="p", etag="e", samples=samples,
    )  # fmt: skip
    redis_client(address).xadd(fleet.result_stream, {"result": receipt.dumps()})


def test_the_errors_of_the_newest_receipts_of_the_fleets_own_server(redis_url: str) -> None:
    fleet = a_fleet(backlog_url=redis_url.rpartition("/")[0] + "/7")
    assert rows._errors(fleet) == ""
    receive(redis_url, fleet, "of another server")
    for samples in (("e",), ("a", "c", "d"), (), ("b", "a")):
        receive(fleet.backlog_url, fleet, *samples)
    assert rows._errors(fleet) == "b; a; c"
    fleet.backlog_url = ""
    assert rows._errors(fleet) == "of another server"
    fleet.backlog_url = "redis://127.0.0.1:1/0"
    assert rows._errors(fleet) == ""


@pytest.mark.parametrize(
    ("depth", "row"),
    [
        (None, {}),
        (Depth(waiting=1, pending=0), {}),
        (Depth(waiting=1, pending=0, rows=counts(5)), {"finished_at": NOON}),
    ],
)
def test_counts_that_are_not_known_or_come_after_the_end_change_nothing(
    depth: Depth | None, row: dict[str, Any]
) -> None:
    fleet = a_fleet()
    a_dataset(fleet, rows_done=3, **row)
    rows.remember_rows(fleet, depth, snapshot(1), policy())
    assert Dataset.objects.get().rows_done == 3


@pytest.mark.parametrize("ranges", [None, 4])
def test_a_tick_notes_the_counts_of_its_own_dataset(ranges: int | None) -> None:
    fleet, other = a_fleet(try_again_at=NOON), a_fleet()
    others, mine = a_dataset(other), a_dataset(fleet)
    depth = Depth(waiting=1, pending=0, ranges=ranges, rows=counts(5, 2, planned=9, dead=1))
    rows.remember_rows(fleet, depth, snapshot(1), policy())
    mine.refresh_from_db()
    assert (mine.rows_done, mine.rows_failed, mine.rows_planned, mine.rows_dead) == (5, 2, 9, 1)
    assert (mine.ranges_left, mine.rows_fail) == (ranges or 0, "")
    assert (mine.counted_from, mine.counted_from_rows, mine.counted_from_failed) == (NOON, 7, 2)
    others.refresh_from_db()
    assert (others.rows_done, others.counted_from) == (0, None)


def test_too_many_failed_rows_are_noted_and_the_time_of_the_last_wish_stays() -> None:
    fleet = a_fleet()
    row = a_dataset(fleet, counted_from=EARLIER)
    seen = snapshot(1, rows_failed=RowsFailed(failed=900, rows=1000, because="no column x"))
    depth = Depth(waiting=1, pending=0, rows=counts(100, 900))
    rows.remember_rows(fleet, depth, seen, policy(tolerated_failure_percent=1))
    row.refresh_from_db()
    assert row.rows_fail == "900 of 1,000 rows failed, more than 1 %: no column x"
    assert row.counted_from == EARLIER


def test_the_counts_of_a_finish_that_came_meanwhile_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = a_fleet()
    row = a_dataset(fleet, rows_done=3)

    def meanwhile(*_: Any) -> None:
        Dataset.objects.filter(pk=row.pk).update(finished_at=NOON, rows_done=9)

    monkeypatch.setattr(rows, "tolerated_failure_percent", meanwhile)
    rows.remember_rows(fleet, Depth(waiting=1, pending=0, rows=counts(5)), snapshot(1), policy())
    assert Dataset.objects.get().rows_done == 9


def test_rows_of_a_fleet_without_a_dataset_are_kept_nowhere() -> None:
    depth = Depth(waiting=1, pending=0, rows=counts(5))
    rows.remember_rows(a_fleet(), depth, snapshot(1), policy())
    assert not Dataset.objects.exists()
