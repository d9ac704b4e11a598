"""The official OpenAI client, unchanged: it uploads requests, and gets each answer exactly once."""

import base64
import io
import json
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from django.contrib.auth.models import Group, Permission, User

from config.env import ROOT
from fleet import operating, tokens
from fleet.batches import advancing
from fleet.models import Batch, BatchFile, BatchPiece, Fleet, Scope
from fleet.roles import make_groups
from tests.support.api import a_person
from tests.support.factories import a_fleet
from tests.support.programs import command
from tests.support.rigs.agent_rig import Agents, Backlog
from tests.support.waiting import patience, until

pytestmark = [pytest.mark.django_db(transaction=True)]
EMBEDDINGS = "/v1/embeddings"
HANDLER = "openai_handlers:respond"
DAY = {"endpoint": EMBEDDINGS, "completion_window": "24h"}


@pytest.fixture
def fleet(live_server: Any, redis_url: str) -> Fleet:
    made = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(made)
    return made


@pytest.fixture
def client(live_server: Any, fleet: Fleet, settings: Any) -> Iterator[openai.OpenAI]:
    settings.API_REQUESTS_PER_MINUTE = 10**6
    make_groups(Group, Permission)  # another test may have emptied the database
    ann = a_person("ann", "operator")
    _, secret = tokens.make_token(ann, "client", Scope.OPERATE, by="tests")
    with openai.OpenAI(base_url=f"{live_server.url}/openai/emb/v1", api_key=secret) as made:
        yield made


@pytest.fixture
def backlog(redis_url: str) -> Backlog:
    made = Backlog(redis_url, group=False)
    made.stream = made.group = "texts"
    return made


@pytest.fixture
def agents() -> Iterator[Agents]:
    made = Agents()
    yield made
    made.kill_all()


def line(custom_id: str, text: str, url: str = EMBEDDINGS, **more: Any) -> bytes:
    body = {"model": "m", "input": text, **more}
    wanted = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(wanted).encode() + b"\n"


def upload(client: openai.OpenAI, lines: Iterable[bytes]) -> str:
    file = ("in.jsonl", io.BytesIO(b"".join(lines)))
    return client.files.create(file=file, purpose="batch").id


def rows(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """The lines of a file by custom_id; fails if one is there twice."""
    if file is None:
        return {}
    found = [json.loads(raw) for raw in client.files.content(file).text.splitlines()]
    assert max(Counter(row["custom_id"] for row in found).values()) == 1
    return {row["custom_id"]: row for row in found}


@contextmanager
def worker() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that advances batches until it is killed with -9."""
    started = subprocess.Popen(command("advance"), cwd=ROOT)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def ended(client: openai.OpenAI, batch: str, *, seconds: float = 60) -> Any:
    def look() -> Any:
        for batch_id in advancing.unfinished():
            advancing.advance(batch_id)
        found = client.batches.retrieve(batch)
        return found if found.status in {"completed", "failed", "expired", "cancelled"} else None

    return until(look, seconds)


def test_answers_and_errors_come_in_the_shape_of_the_api(
    client: openai.OpenAI, fleet: Fleet, backlog: Backlog, agents: Agents
) -> None:
    file = upload(
        client,
        [
            line("a", "héllo"), line("b", "héllo", encoding_format="base64"), line("c", "fail 1"),
            line("d", "refuse 2"), b"\n", line("e:2", "odd"),
        ],
    )  # fmt: skip
    batch = client.batches.create(input_file_id=file, metadata={"run": "7"}, **DAY)
    assert (batch.status, batch.metadata) == ("validating", {"run": "7"})
    agents.start(backlog, "p1", HANDLER, max_deliveries=1)
    done = ended(client, batch.id)
    assert (done.status, done.request_counts.model_dump()) == (
        "completed", {"total": 5, "completed": 2, "failed": 3}
    )  # fmt: skip
    good, bad = rows(client, done.output_file_id), rows(client, done.error_file_id)
    assert (set(good), set(bad)) == ({"a", "b"}, {"c", "d", "e:2"})
    response = good["a"]["response"]
    assert (response["status_code"], good["a"]["error"]) == (200, None)
    assert response["body"]["data"][0]["embedding"] == [0.1, 0.25, 5.0]
    packed = good["b"]["response"]["body"]["data"][0]["embedding"]
    assert struct.unpack("<3f", base64.b64decode(packed))[1:] == (0.25, 5.0)
    assert bad["c"]["error"]["code"] == "request_failed"
    assert "cannot embed fail 1" in bad["c"]["error"]["message"]
    assert bad["d"]["response"]["status_code"] == 400
    assert bad["d"]["response"]["body"]["error"]["code"] == "bad_input"
    assert bad["e:2"]["error"]["code"] == "invalid_response"
    assert backlog.client.exists(f"texts:results:{batch.id}") == 0


def broken_off(client: openai.OpenAI, backlog: Backlog, agents: Agents, count: int) -> None:
    """A batch during which the agent and the worker are killed, and the worker twice."""
    # Few: agents slow down while all that is left fails.
    fails = {f"n{n}" for n in range(7, count, count // 20)}
    lines = [line(f"n{n}", f"fail {n}" if f"n{n}" in fails else f"text {n}") for n in range(count)]
    file = upload(client, lines)
    batch = client.batches.create(input_file_id=file, **DAY)
    # A request that the killed agent had in hand has one more try.
    settings = {"max_deliveries": 2, "claim_idle_seconds": 1.0}
    agent = agents.start(backlog, "p1", "openai_handlers:respond_slowly", **settings)
    row = Batch.objects.get()

    def reached(share: float) -> bool:
        row.refresh_from_db(fields=["completed", "failed"])
        return row.completed + row.failed >= count * share

    with worker():
        until(lambda: reached(0.01), 300)
    agents.kill(agent)
    assert not reached(0.9)
    Batch.objects.update(claimed_until=row.created_at)  # the lease of the killed worker ends
    for n in range(2):
        agents.start(backlog, f"q{n}", HANDLER, **settings)
    with worker():
        until(lambda: reached(0.5), 300)
    Batch.objects.update(claimed_until=row.created_at)
    with worker():
        until(lambda: client.batches.retrieve(batch.id).status == "completed", 600)
    done = client.batches.retrieve(batch.id)
    good, bad = rows(client, done.output_file_id), rows(client, done.error_file_id)
    assert bad.keys() == fails
    assert all(row["error"]["code"] == "request_failed" for row in bad.values())
    assert good.keys() == {f"n{n}" for n in range(count)} - fails
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (count, len(good), len(bad))


@pytest.mark.one_database
@pytest.mark.takes(15)
def test_killed_agents_and_workers_lose_and_double_nothing(
    client: openai.OpenAI, backlog: Backlog, agents: Agents
) -> None:
    broken_off(client, backlog, agents, 2_000)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_agents_and_workers_lose_and_double_nothing_of_100_000(
    client: openai.OpenAI, backlog: Backlog, agents: Agents
) -> None:
    broken_off(client, backlog, agents, 100_000)


def test_a_repeated_request_is_the_same_batch(client: openai.OpenAI, fleet: Fleet) -> None:
    file = upload(client, [line("a", "x")])
    first = client.batches.create(input_file_id=file, metadata={"run": "1", "by": "b"}, **DAY)
    again = client.batches.create(input_file_id=file, metadata={"by": "b", "run": "1"}, **DAY)
    other = client.batches.create(input_file_id=file, metadata={"run": "2", "by": "b"}, **DAY)
    assert (first.id == again.id, first.id == other.id) == (True, False)
    assert [batch.id for batch in client.batches.list(limit=1)] == [other.id, first.id]


def test_a_wrong_file_fails_with_the_numbers_of_its_lines(
    client: openai.OpenAI, backlog: Backlog
) -> None:
    lines = [line("a", "x"), b"{no\n", line("a", "y"), line("b", "x", url="/v1/nonsense")]
    batch = client.batches.create(input_file_id=upload(client, lines), **DAY)
    failed = ended(client, batch.id)
    said = [(error.line, error.code) for error in failed.errors.data]
    assert failed.status == "failed"
    assert said == [
        (2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "mismatched_endpoint")
    ]  # fmt: skip
    assert backlog.client.xlen("texts") == 0


def test_a_cancelled_batch_takes_back_what_no_pod_has_read(
    client: openai.OpenAI, backlog: Backlog, agents: Agents
) -> None:
    backlog.put(b"of others")
    file = upload(client, [line(str(n), "x") for n in range(1200)])
    batch = client.batches.create(input_file_id=file, **DAY)
    advancing.advance(Batch.objects.get().pk)
    assert backlog.client.xlen("texts") == 1201
    with pytest.raises(openai.BadRequestError, match="cancel that one first"):
        client.files.delete(file)
    backlog.client.xreadgroup("texts", "p1", {"texts": ">"}, count=11)
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = ended(client, batch.id)
    assert backlog.client.xlen("texts") == 11  # those in hand
    assert (done.status, done.output_file_id, done.cancelled_at > 0) == ("cancelled", None, True)
    bad = rows(client, done.error_file_id)
    assert {row["error"]["code"] for row in bad.values()} == {"batch_cancelled"}
    assert len(bad) == 1200
    late = f"texts:results:{batch.id}"
    backlog.client.xadd(late, {"id": "0:0", "result": "{}"})
    advancing.clean_up()
    assert backlog.client.exists(late) == 0
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_what_has_no_answer_at_the_end_of_the_window_is_an_error(
    client: openai.OpenAI, backlog: Backlog
) -> None:
    file = upload(client, [line(str(n), "x") for n in range(3)])
    batch = client.batches.create(input_file_id=file, **DAY)
    advancing.advance(Batch.objects.get().pk)
    body = json.dumps({"object": "list"})
    for _ in range(2):  # twice: the second one counts for nothing
        backlog.client.xadd(f"texts:results:{batch.id}", {"id": "1:1", "result": body})
    Batch.objects.update(expires_at=Batch.objects.get().created_at)
    done = ended(client, batch.id)
    assert done.status == "expired"
    assert set(rows(client, done.output_file_id)) == {"1"}
    bad = rows(client, done.error_file_id)
    assert {key: row["error"]["code"] for key, row in bad.items()} == {
        "0": "batch_expired", "2": "batch_expired"
    }  # fmt: skip


def test_what_a_server_lost_is_put_back_onto_the_stream(
    client: openai.OpenAI, backlog: Backlog
) -> None:
    file = upload(client, [line(str(n), "x") for n in range(3)])
    batch = client.batches.create(input_file_id=file, **DAY)
    row = Batch.objects.get()
    advancing.advance(row.pk)
    backlog.client.xadd(f"texts:results:{batch.id}", {"id": "1:1", "result": "{}"})
    advancing.advance(row.pk)
    advancing.advance(row.pk)
    assert backlog.client.xlen("texts") == 3
    backlog.client.flushall()
    advancing.advance(row.pk)
    ids = [fields[b"id"] for _, fields in backlog.client.xrange("texts")]  # type: ignore[union-attr]
    assert ids == [b"0:0", b"2:2"]


def test_files_are_listed_read_and_deleted(client: openai.OpenAI, fleet: Fleet) -> None:
    content = b"".join(line(str(n), "x" * 2000) for n in range(1500))  # four pieces
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    assert (file.bytes, file.filename, file.status) == (len(content), "in.jsonl", "processed")
    assert client.files.wait_for_processing(file.id).id == file.id
    assert client.files.content(file.id).read() == content
    assert BatchPiece.objects.count() == 4
    second = upload(client, [line("a", "x")])
    assert [f.id for f in client.files.list(purpose="batch", limit=1)] == [second, file.id]
    assert client.files.delete(file.id).deleted
    assert list(BatchFile.objects.values_list("key", flat=True)) == [second]
    assert BatchPiece.objects.count() == 1
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_refusals_are_those_that_the_client_knows(
    client: openai.OpenAI, fleet: Fleet, settings: Any
) -> None:
    file = upload(client, [line("a", "x")])
    began = time.monotonic()
    for wrong in (
        {**DAY, "endpoint": "/v1/nonsense"}, {**DAY, "completion_window": "1y"},
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError):
            client.batches.create(input_file_id=file, **wrong)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", **DAY)
    with pytest.raises(openai.NotFoundError, match="/v1/batches"):
        client.embeddings.create(model="m", input=["a"])
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("x", b"x"), purpose="assistants")
    settings.BATCH_FILE_BYTES = 100
    with pytest.raises(openai.APIStatusError, match="more than 100 bytes"):
        upload(client, [line("a", "x")])
    Fleet.objects.update(longest_results=10)
    with pytest.raises(openai.BadRequestError, match="longest_results"):
        client.batches.create(input_file_id=file, **DAY)
    nobody = client.with_options(api_key="pf_nobody", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        nobody.files.list()
    assert time.monotonic() - began < patience(30)


def test_a_token_that_may_only_read_changes_nothing(client: openai.OpenAI, fleet: Fleet) -> None:
    file = upload(client, [line("a", "x")])
    ann = User.objects.get(username="ann")
    _, secret = tokens.make_token(ann, "reader", Scope.READ, by="tests")
    reader = client.with_options(api_key=secret)
    assert [f.id for f in reader.files.list()] == [file]
    for refused in (
        lambda: reader.files.delete(file),
        lambda: reader.batches.create(input_file_id=file, **DAY),
        lambda: upload(reader, [line("a", "x")]),
        lambda: reader.batches.cancel("batch_x"),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            refused()
