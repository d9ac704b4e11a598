"""The memory in which the handler's process leaves large results for the agent."""

import mmap
import os
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pods.agent import ring
from pods.agent.ring import RingReader, RingWriter, ring_memory

SIZE = 1024


class Bytes:
    """A value of some bytes."""

    def __init__(self, content: bytes) -> None:
        self._content, self.size = content, len(content)

    def write(self, into: memoryview) -> None:
        """Write them."""
        into[:] = self._content


@pytest.fixture
def ends(monkeypatch):
    monkeypatch.setattr(ring, "LONGEST_WAIT_SECONDS", 0.05)
    fd = ring_memory(SIZE)
    yield RingWriter(fd), RingReader(fd)
    os.close(fd)


def test_values_come_as_they_were_written_also_around_the_end(ends):
    writer, reader = ends
    for n in range(50):
        content = bytes([n]) * (300 + n)
        assert bytes(reader.take(*writer.put(Bytes(content)))) == content


def test_a_value_stays_as_long_as_something_refers_to_it(ends):
    writer, reader = ends
    first = reader.take(*writer.put(Bytes(b"1" * 500)))
    array = pa.Array.from_buffers(pa.uint8(), 500, [None, pa.py_buffer(memoryview(first)[:])])
    del first
    second = reader.take(*writer.put(Bytes(b"2" * 400)))
    assert writer.put(Bytes(b"3" * 400)) is None
    del second
    assert writer.put(Bytes(b"3" * 400)) is None  # values are freed in order
    assert array.to_numpy(zero_copy_only=True).tobytes() == b"1" * 500
    del array
    assert writer.put(Bytes(b"3" * 400)) is not None


def test_a_value_larger_than_the_ring_has_no_room(ends):
    writer, _ = ends
    began = time.monotonic()
    assert writer.put(Bytes(bytes(SIZE + 1))) is None
    assert time.monotonic() - began < ring.LONGEST_WAIT_SECONDS  # it does not wait in vain
    assert writer._waits
    assert writer.put(Bytes(bytes(SIZE))) is not None


def test_a_writer_waits_for_room(ends, monkeypatch):
    monkeypatch.setattr(ring, "LONGEST_WAIT_SECONDS", 30.0)
    writer, reader = ends
    values = [reader.take(*writer.put(Bytes(b"1" * SIZE)))]
    timer = threading.Timer(0.05, values.clear)
    timer.start()
    assert writer.put(Bytes(b"2" * SIZE)) is not None
    timer.join()


def test_who_waited_in_vain_does_not_wait_again_until_there_is_room(ends, monkeypatch):
    writer, reader = ends
    value = reader.take(*writer.put(Bytes(b"1" * SIZE)))
    assert writer.put(Bytes(b"2")) is None
    monkeypatch.setattr(ring, "LONGEST_WAIT_SECONDS", 3600.0)
    assert writer.put(Bytes(b"2")) is None
    del value
    assert writer.put(Bytes(b"2")) is not None
    assert writer._waits


def test_values_that_end_in_other_threads_make_room(ends):
    writer, reader = ends
    for _ in range(200):
        values = [reader.take(*writer.put(Bytes(b"x" * 100))) for _ in range(8)]
        threads = [threading.Thread(target=values.pop) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not reader._taken


def test_without_a_size_or_such_memory_there_is_no_ring(monkeypatch):
    assert ring_memory(0) is None
    monkeypatch.delattr(os, "memfd_create")
    assert ring_memory(SIZE) is None


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTFORK"), reason="this system has no such advice")
def test_a_process_that_a_handler_forks_does_not_keep_the_ring():
    fd = ring.ring_memory(SIZE)
    kept = ring._mapped(fd)
    parts = Path("/proc/self/smaps").read_text().split("podfleet-ring")
    flags = parts[-1].partition("VmFlags:")[2].partition("\n")[0].split()
    assert "dc" in flags  # not copied on a fork
    kept.close()
    os.close(fd)
