"""Files on a real S3 server, which refuses, disappears and comes back."""

import pytest

from pods.agent.dataset import stores
from tests.support.object_store import READER_KEY, READER_SECRET


def test_files_on_s3_behave_as_those_in_a_folder(s3, monkeypatch):
    folder = stores.place(f"{s3.url}/run=1")
    etag = folder.at("a b%20#?ü+&.txt").put(b"hello", create=True)
    file = folder.at("a b%20#?ü+&.txt")
    assert (file.get(etag), file.range(1, 3, etag)) == (b"hello", b"el")
    with pytest.raises(stores.AlreadyThere):
        file.put(b"other", create=True)
    large = bytes(20 * 1024 * 1024)
    folder.at("large").put(large, create=True)
    found = {f.name: f for f in folder.list()}
    assert (found["large"].size, found["a b%20#?ü+&.txt"].etag) == (len(large), etag)
    assert stores.place(found["large"].url).file(len(large), found["large"].etag).read() == large
    with pytest.raises(stores.AlreadyThere):
        folder.at("large").put(large, create=True)
    file.put(b"another")
    with pytest.raises(stores.Changed):
        file.get(etag)
    with pytest.raises(stores.Changed, match="shorter"):
        file.range(10, 20)
    with pytest.raises(stores.Missing):
        folder.at("none").head()
    with pytest.raises(stores.Missing):
        list(stores.place("s3://no-such-bucket").list())
    file.delete()
    file.delete()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    reader = stores.place(f"{s3.url}/run=1")
    assert len(reader.at("large").range(0, 10)) == 10
    with pytest.raises(stores.Refused):
        reader.at("x").put(b"1")


def test_a_server_that_is_gone_is_unreachable_until_it_is_back(s3, monkeypatch):
    monkeypatch.setattr(stores, "MOST_RETRIES", 0)
    stores._store.cache_clear()
    file = stores.place(f"{s3.url}/a")
    file.put(b"1")
    s3.kill()
    with pytest.raises(stores.Unreachable):
        file.get()
    s3.start()
    assert file.get() == b"1"
    stores._store.cache_clear()
