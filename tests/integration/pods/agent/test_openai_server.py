"""The handler that starts a server of a model: against a real one that misbehaves."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from pods.agent.calling import Caller, Failed
from pods.agent.handlers import Fields, Item
from pods.agent.handlers.openai_server import OpenAIServer
from pods.agent.handlers.serving import ServerEnded
from pods.agent.protocol import AgentState
from tests.support.programs import FOLDER
from tests.support.waiting import patience, until

EMBEDDINGS = "/v1/embeddings"
PROGRAM = str(FOLDER / "model_server.py")
COMMAND = [sys.executable, PROGRAM, "{port}"]


def items(*texts, **fields):
    more = {name.encode(): value for name, value in fields.items()}
    return [
        Item(f"{n}-0", Fields({b"payload": text.encode(), **more})) for n, text in enumerate(texts)
    ]


@pytest.fixture
def started():
    callers = []

    def start(*words, **options):
        caller = Caller(OpenAIServer([*COMMAND, *words], **options))
        callers.append(caller)
        caller.setup()
        return caller

    yield start
    for caller in callers:
        caller.teardown()


def texts_of(outcomes):
    return [json.loads(outcome)["text"].split()[0] for outcome in outcomes]


def server_processes():
    """The servers that this test started, through their guards."""
    return [p for p in psutil.Process().children(recursive=True) if is_server(p)]


def is_server(process):
    try:
        words = process.cmdline()
    except psutil.Error:  # it has just ended
        return False
    return PROGRAM in words[:2]


def test_texts_are_answered_at_the_same_time_and_never_more_than_the_concurrency(started):
    caller = started("late", concurrency=4, model="m", parameters={"max_tokens": 7})
    outcomes = caller(items(*(f"text{n}" for n in range(16))))
    assert texts_of(outcomes) == [f"TEXT{n}" for n in range(16)]
    said = [json.loads(outcome)["text"].split() for outcome in outcomes]
    assert {(model, tokens) for _, model, tokens, _ in said} == {("m", "7")}
    assert max(int(most) for *_, most in said) == 4


def test_refusals_of_a_busy_server_and_errors_are_asked_again(started):
    outcomes = started()(items("429 a", "500 b", "fine"))
    assert texts_of(outcomes) == ["429", "500", "FINE"]


def test_what_always_fails_or_is_refused_fails_alone(started):
    outcomes = started(request_seconds=1.0)(
        items("refused x", "unknown x", "always 500", "slow x", "fine")
    )
    refused, unknown, error, slow, fine = outcomes
    assert [refused.final, unknown.final, error.final, slow.final] == [True, False, False, False]
    assert 'answers 400: {"error": {"message": "no: refused x"}}' in refused.error
    assert "answers 404" in unknown.error
    assert "in 5 tries: HTTP 500" in error.error
    assert "took longer than 1 s" in slow.error
    assert texts_of([fine]) == ["FINE"]


def test_a_dead_server_is_started_again_and_only_what_kills_it_fails(started, tmp_path, capfd):
    caller = started(concurrency=4)
    assert texts_of(caller(items("a", f"dies once {tmp_path}/marker", "b"))) == ["A", "DIES", "B"]
    outcomes = caller(items("a", "dies always", "b", "c"))
    assert isinstance(outcomes[1], Failed)
    assert "exit status 3; its last lines: " in outcomes[1].error
    assert "fatal: dies always" in outcomes[1].error
    assert texts_of([o for n, o in enumerate(outcomes) if n != 1]) == ["A", "B", "C"]
    assert "the server ended while it worked" in capfd.readouterr().err


def test_a_server_that_dies_between_batches_is_started_again(started):
    caller = started()
    [server] = server_processes()
    server.kill()
    until(lambda: not server_processes())
    assert texts_of(caller(items("a"))) == ["A"]


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("broken", "ended before it was healthy: exit status 1; its last lines: listening on"),
        ("sick", "the server was not healthy after 0.5 s: it"),
    ],
)
def test_a_server_that_does_not_get_healthy_fails_the_load_with_its_last_lines(started, word, why):
    with pytest.raises(ServerEnded) as caught:
        started(word, start_seconds=0.5 if word == "sick" else 60.0)
    assert why in str(caught.value)
    assert ("no model of this name" in str(caught.value)) is (word == "broken")
    assert server_processes() == []


def test_a_program_that_is_not_there_is_named(started):
    caller = Caller(OpenAIServer("no-such-server --port {port}"))
    with pytest.raises(ServerEnded, match="no-such-server cannot be run"):
        caller.setup()


def test_a_server_that_cannot_be_started_again_ends_the_handlers_process(started):
    handler = OpenAIServer(COMMAND)
    caller = Caller(handler)
    caller.setup()
    handler._server._command = [*COMMAND, "broken"]
    server_processes()[0].kill()
    until(lambda: not server_processes())
    with pytest.raises(SystemExit, match="no model of this name"):
        caller(items("a"))


def test_requests_of_a_batch_are_sent_and_answered_as_they_are(started):
    body = json.dumps({"model": "theirs", "input": "abc"})
    refused = json.dumps({"model": "theirs", "input": "refused abc"})
    caller = started(model="ours")
    good, bad = caller(items(body, refused, url=EMBEDDINGS.encode()))
    assert json.loads(good) == {"data": [{"embedding": [3.0, 0.5]}]}
    assert json.loads(bad) == {"error": {"message": "no: refused abc"}}
    [embedding] = started(endpoint=EMBEDDINGS)(items("abc"))
    assert json.loads(embedding) == {"embedding": [3.0, 0.5]}


def test_an_item_without_text_is_a_dead_letter_and_is_not_sent(started):
    [missing, empty] = started(input_field="question")(
        [Item("1-0", Fields({b"payload": b"x"})), Item("2-0", Fields({b"question": b""}))]
    )
    assert [missing.final, empty.final] == [True, True]
    assert "has no field question; it has payload" in missing.error
    assert "the field question is empty" in empty.error


def test_the_server_ends_with_a_handler_that_is_killed():
    program = (
        "import sys; from pods.agent.handlers.openai_server import OpenAIServer;"
        "h = OpenAIServer(sys.argv[1:]); h.setup(); print(h._server.port, flush=True); sys.stdin.read()"
    )
    handler = subprocess.Popen(
        [sys.executable, "-c", program, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert handler.stdout is not None
    assert handler.stdout.readline().strip().isdigit()
    [server] = server_processes()
    os.kill(handler.pid, signal.SIGKILL)
    handler.wait()
    assert server.wait(timeout=patience(20)) is None


HANDLER = "pods.agent.handlers.openai_server:OpenAIServer"


def test_a_real_agent_drains_a_backlog_through_a_server(backlog, agents):
    entries = backlog.put_numbered(50)
    command = {"HANDLER_COMMAND": " ".join(COMMAND), "HANDLER_CONCURRENCY": "8"}
    agents.start(backlog, "pod-a", HANDLER, env=command)
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)
    assert all(json.loads(r)["text"].startswith("ITEM ") for r in backlog.results().values())


def test_a_pod_whose_server_does_not_start_fails_and_says_the_last_lines(backlog, agents):
    command = {"HANDLER_COMMAND": " ".join([*COMMAND, "broken"])}
    agent = agents.start(backlog, "pod-a", HANDLER, env=command)
    until(lambda: (beat := backlog.heartbeat("pod-a")) and beat.state is AgentState.FAILED)
    assert "no model of this name" in backlog.heartbeat("pod-a").note
    assert agent.wait(timeout=patience(20)) == 3
