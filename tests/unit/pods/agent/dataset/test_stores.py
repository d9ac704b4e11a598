"""Files by URL: the same behaviour in a folder and on an S3 server, and errors in our words."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.exceptions import NotSupportedError
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, S3Store

from pods.agent.dataset import credentials, stores


@pytest.fixture
def folder(tmp_path) -> stores.Place:
    return stores.place(tmp_path.as_uri())


@pytest.mark.parametrize("name", ["a.txt", "deep/er/a.txt", "a b%20#?ü+&.txt", "a=1/b.parquet"])
def test_what_was_put_is_read_listed_and_deleted(folder, name):
    etag = folder.at(name).put(b"hello")
    assert folder.at(name).get() == b"hello"
    assert folder.at(name).range(1, 3) == b"el"
    assert folder.at(name).range(2, None) == b"llo"
    assert folder.at(name).head().url == folder.at(name).url
    [found] = folder.list()
    assert (found.name, found.size, found.etag) == (name, 5, etag)
    assert stores.place(found.url).get() == b"hello"
    folder.at(name).delete()
    folder.at(name).delete()
    assert list(folder.list()) == []


def test_a_missing_file_is_missing_and_a_missing_folder_is_empty(folder):
    with pytest.raises(stores.Missing, match=r"none\.txt does not exist"):
        folder.at("none.txt").get()
    with pytest.raises(stores.Missing):
        folder.at("none.txt").head()
    assert list(folder.at("none").list()) == []


def test_a_file_that_changed_is_noticed_at_each_read(folder):
    file = folder.at("a")
    old = file.put(b"first")
    file.put(b"second, longer")
    for read in (lambda: file.get(old), lambda: file.range(0, 2, old), file.file(5, old).read):
        with pytest.raises(stores.Changed):
            read()


def test_a_read_beyond_the_end_says_that_the_file_is_shorter(folder):
    folder.at("a").put(b"12345")
    with pytest.raises(stores.Changed, match="shorter"):
        folder.at("a").range(10, 20)


def test_no_bytes_of_a_file_are_read_without_a_question(folder):
    assert folder.at("none").range(3, 3) == b""
    assert folder.at("none").range(0, 0) == b""


def test_a_file_for_pyarrow_is_read_to_its_end(folder):
    folder.at("a").put(b"12345")
    file = folder.at("a").file(5)
    assert [file.read(2), file.read(None), file.read()] == [b"12", b"345", b""]
    file.seek(-2, io.SEEK_END)
    assert file.read(-1) == b"45"


def test_a_file_is_created_once(folder):
    folder.at("a").put(b"1", create=True)
    with pytest.raises(stores.AlreadyThere):
        folder.at("a").put(b"2", create=True)
    assert folder.at("a").get() == b"1"


def test_a_key_that_stays_unknown_is_refused_in_the_end():
    error = stores._ours("s3://b/x", OSError("403: <Code>InvalidAccessKeyId</Code>"))
    assert isinstance(error, stores.NotKnown)

    named_so = "404: s3://b/InvalidToken/ExpiredToken.parquet"  # is no answer of the store
    assert not isinstance(stores._ours("s3://b/x", OSError(named_so)), stores.NotKnown)

    def ask():
        raise error

    with pytest.raises(stores.NotKnown):
        stores.with_known_key(0, ask)
    with pytest.raises(stores.Refused):
        stores.with_known_key(stores.MOST_TRIES_WITHOUT_KEY, ask)


def test_a_full_disk_is_said():
    error = stores._ours("file:///x", OSError("No space left on device (os error 28)"))
    assert isinstance(error, stores.Full)


def test_a_folder_in_the_place_of_a_file_is_refused(folder, tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(stores.Refused):
        folder.at("sub").put(b"1")


def test_pyarrow_reads_a_table_through_it(folder):
    table = pa.table({"id": list(range(1000)), "text": ["x" * 50] * 1000})
    made = io.BytesIO()
    pq.write_table(table, made, row_group_size=100)
    etag = folder.at("t.parquet").put(made.getvalue())
    file = folder.at("t.parquet").file(len(made.getvalue()), etag)
    read = pq.ParquetFile(file, pre_buffer=True).read_row_group(3, columns=["id"])
    assert read["id"].to_pylist() == list(range(300, 400))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("bucket/key", "begin it with one of s3://"),
        ("s3", "names no bucket"),
        ("ftp://host/x", "begin it with one of s3://"),
        ("file://tmp/x", "a path from the root"),
        ("s3:///key", "names no bucket"),
        ("https://host/a?b=1", r"with \? or #"),
        ("https://host/a#b", r"with \? or #"),
    ],
)
def test_a_bad_url_says_what_would_be_right(url, words):
    with pytest.raises(stores.BadUrl, match=words):
        stores.place(url)


def test_keys_name_a_file_within_its_bucket(tmp_path):
    assert stores.place("s3://b/x//y.parquet").key == "x/y.parquet"
    assert stores.place("file:///tmp/a%20b").key == "/tmp/a b"
    assert stores.place("https://host/a%20b").key == "a b"
    assert stores.place("s3://b/a?b%20#").key == "a?b%20#"  # any sign may be part of a key there
    assert stores.place("s3://b").at("x").key == "x"


def test_the_url_of_a_file_is_written_as_its_kind_of_store_wants_it(tmp_path):
    assert stores.place("s3://b/in/").at("a b.txt").url == "s3://b/in/a b.txt"
    assert stores.place("file:///in").at("a b.txt").url == "file:///in/a%20b.txt"


OF_AZURE = {"AZURE_STORAGE_ACCOUNT_NAME": "box", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}
OF_S3 = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu"}


@pytest.mark.parametrize(
    ("url", "environment", "kind", "keys"),
    [
        ("s3://b/x", OF_S3, S3Store, ("key", "secret")),
        ("s3://b/x", {"AWS_SKIP_SIGNATURE": "true"}, S3Store, None),
        ("az://b/x", OF_AZURE, AzureStore, ("a2V5",)),
        ("gs://b/x", {"GOOGLE_SKIP_SIGNATURE": "true"}, GCSStore, None),
        ("https://host/x", {}, HTTPStore, None),
        ("file:///x", {}, LocalStore, None),
    ],
)
def test_each_kind_of_store_has_its_client_with_the_keys_it_was_given(url, environment, kind, keys):
    client = stores.place(url, environment).store
    assert isinstance(client, kind)
    provider = getattr(client, "credential_provider", None)
    assert (None if provider is None else tuple(provider().values())[: len(keys)]) == keys


def test_a_place_keeps_the_credentials_of_the_fleet_that_opened_it(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    with credentials.using(OF_S3):
        ours = stores.place("s3://b/x")
    assert ours.given()["AWS_ACCESS_KEY_ID"] == "key"
    assert stores.place("s3://b/x").given()["AWS_ACCESS_KEY_ID"] == "of the environment"
    assert stores.place("s3://b/x", {"A": "1"}).given() == {"A": "1"}


class Answers(BaseHTTPRequestHandler):
    """Answers with the status in the path. Refuses what is posted, and remembers where."""

    posted: ClassVar[list[str]] = []

    def do_GET(self):
        status = int(self.path.split("/")[1])
        if self.path.endswith("matches"):
            status = 200 if self.headers["If-Match"] == '"strong"' else 412
        if self.path.endswith("weak") and self.headers["If-Match"]:
            status = 412  # as the standard says of a weak one
        self.send_response(status)
        self.send_header("Content-Length", "3")
        if self.path.endswith("etag"):
            self.send_header("ETag", '"now"')
        if self.path.endswith("weak"):
            self.send_header("ETag", 'W/"weak"')
        self.end_headers()
        self.wfile.write(b"abc")

    def do_POST(self):
        type(self).posted.append(self.path)
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, stores.Missing),
        (403, stores.Refused),
        (401, stores.Refused),
        (400, stores.Refused),
        (412, stores.Changed),
        (416, stores.Changed),
        (429, stores.Unreachable),
        (503, stores.Unreachable),
        (507, stores.Full),
    ],
)
def test_each_status_has_an_error_of_ours(web, status, error, monkeypatch):
    monkeypatch.setattr(stores, "MOST_RETRIES", 0)
    stores._store.cache_clear()
    with pytest.raises(error) as caught:
        stores.place(f"{web}/{status}/x").get()
    assert "\n" not in str(caught.value)


def test_an_etag_is_compared_where_the_server_does_not(web):
    assert stores.place(f"{web}/200/etag").get('"now"') == b"abc"
    with pytest.raises(stores.Changed):
        stores.place(f"{web}/200/etag").get('"before"')


def test_a_server_is_told_the_etag_unless_it_is_a_weak_one(web):
    assert stores.place(f"{web}/200/matches").get('"strong"') == b"abc"
    with pytest.raises(stores.Changed):
        stores.place(f"{web}/200/matches").get('"older"')
    assert stores.place(f"{web}/200/weak").get('W/"weak"') == b"abc"


def test_a_large_file_is_put_into_a_bucket_in_pieces(web):
    file = stores.place("s3://b/x", {**OF_S3, "AWS_ENDPOINT_URL": web})
    with pytest.raises(stores.Refused):
        file.put(bytes(stores.LARGEST_REQUEST_BYTES + 1))
    [path] = Answers.posted
    assert path.startswith("/b/x?uploads")


def test_a_server_that_says_no_etag_is_believed(web):
    assert stores.place(f"{web}/200/x").get('"before"') == b"abc"


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (PermissionError(13, "denied"), stores.Refused),
        (NotSupportedError("no"), stores.Refused),
        (OSError("status code: 404 Not Found"), stores.Missing),
        (OSError("status code: 416"), stores.Changed),
        (OSError("Requested range was invalid"), stores.Changed),
        (OSError("a folder (os error 21)"), stores.Refused),
        (OSError("timed out"), stores.Unreachable),
    ],
)
def test_an_error_that_stays_is_told_from_one_that_may_pass(error, ours):
    assert type(stores._ours("s3://b/x", error)) is ours


def test_an_etag_is_the_same_in_a_list_and_in_an_answer():
    """Azure's lists have ETags without quotes, and its answers for one file have them."""
    folder = stores.place("az://parts/in")
    meta = {"path": "in/a", "size": 1}
    listed, asked = (folder._found({**meta, "e_tag": tag}) for tag in ("0x8D", '"0x8D"'))
    assert listed == asked
    assert (listed.name, listed.etag) == ("a", '"0x8D"')
    assert folder._found({**meta, "e_tag": None}).etag == ""


def test_nobody_at_the_other_end_is_unreachable(monkeypatch):
    monkeypatch.setattr(stores, "MOST_RETRIES", 0)
    stores._store.cache_clear()
    with pytest.raises(stores.Unreachable):
        stores.place("http://127.0.0.1:9/x").get()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket/a", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket/a", "set GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("az://box/a", "set AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_missing_credentials_are_named_and_not_the_server_that_was_asked_for_them(url, words):
    asked = "Error performing PUT http://169.254.169.254/latest/api/token: connection refused"
    with pytest.raises(stores.Refused, match=f"there are no credentials; {words}"):
        raise stores._ours(url, OSError(asked))
