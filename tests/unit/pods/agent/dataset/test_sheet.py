"""The memory of a part is taken by the next one, and by no other while somebody reads it."""

import gc
import sys

import pytest

from pods.agent.dataset import sheet
from pods.agent.dataset.sheet import Sheet

MIB = 1024 * 1024
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its memory grows by mremap")


@pytest.fixture(autouse=True)
def kept():
    sheet.keep(0)
    sheet.keep(2 * MIB)
    yield
    sheet.keep(0)


def filled(*pieces):
    made = Sheet()
    for piece in pieces:
        assert made.write(piece) == memoryview(piece).nbytes
    return made.getvalue()


def test_a_file_has_what_was_written_however_large_it_grows():
    pieces = [b"a" * 3, memoryview(b"b" * (3 * MIB)), bytearray(b"c"), b""]
    value = filled(*pieces)
    assert value == b"".join(map(bytes, pieces))
    assert value.readonly
    assert filled() == b""


def test_a_file_grows_only_when_it_is_full():
    made = Sheet()
    for _ in range(10):
        made.write(b"x" * 100)
    assert len(made._memory) == sheet.FIRST_BYTES


def test_the_next_file_takes_the_memory_of_one_that_nobody_reads():
    first = filled(b"1" * 5 * MIB)
    second = filled(b"2")
    assert not sheet._spare
    del second
    [spare] = sheet._spare
    third = Sheet()
    assert third._memory is spare
    assert first == b"1" * 5 * MIB
    third.write(b"3" * 100)
    assert third.getvalue() == b"3" * 100


def test_memory_is_not_taken_while_a_slice_of_it_is_read():
    value = filled(b"1" * 100)
    reader = memoryview(value)
    gc.collect()
    del value
    assert reader == b"1" * 100
    assert bytes(filled(b"2" * 100)) == b"2" * 100
    assert reader == b"1" * 100


def test_the_memory_of_one_file_is_kept_and_not_that_of_all():
    first, second = filled(b"1"), filled(b"2")
    del first, second
    assert len(sheet._spare) == 1
    sheet.keep(2 * MIB)
    assert not sheet._spare


def test_only_so_much_is_kept():
    del_me = filled(b"1" * 5 * MIB)
    assert len(del_me) == 5 * MIB
    del del_me
    [spare] = sheet._spare
    assert spare[: 2 * MIB] == b"1" * 2 * MIB
    assert spare[2 * MIB : 5 * MIB] == bytes(3 * MIB)
    sheet.keep(0)
    assert not sheet._spare
    filled(b"1")
    assert not sheet._spare
