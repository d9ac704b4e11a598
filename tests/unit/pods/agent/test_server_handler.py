"""The handler of a server with OpenAI's API in steps: its requests, its results, and its server's end."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pods.agent.handlers import BadItem, Fields, Item, requesting
from pods.agent.handlers.openai_server import Answer, OpenAIServer
from pods.agent.handlers.requesting import MOST_BROKEN, Client, NoAnswer
from pods.agent.handlers.serving import END_SECONDS, Server, ServerEnded

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


class Scripted(BaseHTTPRequestHandler):
    """Answers with the next of the server's answers: a status, or None to break the connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.client_address[1], dict(self.headers)))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self):
        self.server.before_health()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.daemon_threads = True
        server.answers, server.seen, server.before_health = [], [], lambda: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(web, monkeypatch):
    monkeypatch.setattr(requesting, "FIRST_PAUSE_SECONDS", 0.001)

    def make(*, is_gone=lambda: False, patience_seconds=60.0, **more):
        return Client(
            web.server_port, request_seconds=10, patience_seconds=patience_seconds,
            is_gone=is_gone, **more,
        )  # fmt: skip

    return make


def test_requests_of_a_thread_share_a_connection_and_have_the_headers(web, client):
    asks = client(headers={"Authorization": "Bearer key"})
    assert [asks.post("/x", b"{}").status for _ in range(3)] == [200] * 3
    assert len({port for port, _ in web.seen}) == 1
    assert web.seen[0][1]["Authorization"] == "Bearer key"
    assert web.seen[0][1]["Content-Type"] == "application/json"
    client().post("/x", b"{}")
    assert "Authorization" not in web.seen[3][1]


@pytest.mark.parametrize("answers", [[None], [500], [429], [503, None, 500]])
def test_a_request_is_repeated_until_there_is_an_answer(web, client, answers):
    web.answers = list(answers)
    assert client().post("/x", b"{}").status == 200
    assert len(web.seen) == len(answers) + 1


@pytest.mark.parametrize("answer", [500, None])
def test_what_breaks_the_server_each_time_has_few_tries(web, client, answer):
    web.answers = [answer] * 50
    with pytest.raises(NoAnswer, match=f"no result in {MOST_BROKEN} tries"):
        client().post("/x", b"{}")
    assert len(web.seen) == MOST_BROKEN


def test_a_busy_server_is_asked_again_for_as_long_as_the_patience_lasts(web, client):
    web.answers = [503] * (2 * MOST_BROKEN)
    assert client().post("/x", b"{}").status == 200
    web.answers = [503] * 50
    with pytest.raises(NoAnswer, match="in 1 tries: HTTP 503"):
        client(patience_seconds=0.0).post("/x", b"{}")


def test_a_server_that_is_gone_has_no_answer_and_is_not_asked_again(web, client):
    web.answers = [None] * 50
    asks = client(is_gone=lambda: True, patience_seconds=0.0)
    assert asks.post("/x", b"{}") is None
    assert asks.post("/x", b"{}") is None
    assert len(web.seen) == 1


# The process of the server.


class Joined:
    """A reader of lines, which remembers for how long somebody waited for it."""

    def __init__(self):
        self.waits = []

    def join(self, seconds):
        self.waits.append(seconds)


@pytest.fixture
def process():
    started = []

    def start(*command):
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


def a_server(*words, port=0):
    return Server(list(words) or ["true"], health="/health", start_seconds=10, port=port)


def test_a_server_that_was_never_started_has_ended_and_said_nothing():
    server = a_server()
    assert server.has_ended(0)
    assert server.last_words() == "it printed nothing"
    server.end()


def test_the_last_lines_of_an_ended_server_are_waited_for_and_those_of_another_are_not(process):
    server = a_server()
    server._reader, server._process = Joined(), process("cat")
    server._last.append("hello")
    assert server.last_words() == "its last lines: hello"
    assert server._reader.waits == []
    server.end()  # its input is closed
    assert server._process.returncode == 0
    assert server._reader.waits == [END_SECONDS]
    assert server.last_words() == "exit status 0; its last lines: hello"
    assert server._reader.waits == [END_SECONDS, END_SECONDS]


def test_empty_lines_are_not_among_the_last_ones(capsys):
    class Printed:
        stdout = (b"one\n", b"\n", b"two \n")

    server = a_server()
    server._read(Printed())
    assert list(server._last) == ["one", "two"]
    assert capsys.readouterr().err == "server: one\nserver: \nserver: two\n"


def test_a_server_whose_port_another_one_has_is_not_healthy(web):
    server = a_server(sys.executable, "-c", "import sys; sys.exit('in use')", port=web.server_port)
    web.before_health = lambda: server.has_ended(30)
    with pytest.raises(ServerEnded, match=r"exit status 1; its last lines: in use"):
        server.start()
    assert server.port == web.server_port


def test_a_program_that_is_killed_has_the_status_that_a_shell_gives_it():
    guard = [sys.executable, "-m", "pods.agent.handlers.guard", "sh", "-c", "kill -9 $$"]
    with subprocess.Popen(guard, stdin=subprocess.PIPE) as running:
        assert running.wait(30) == 128 + 9


# The handler, with stand-ins for the server and the client.


class Asked:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, *answers):
        self._answers, self.seen = list(answers), []

    def post(self, path, body):
        self.seen.append((path, json.loads(body)))
        return self._answers.pop(0) if self._answers else Answer(200, b'{"said": 1}')


class Process:
    """A server that starts at once, and ends when it is told."""

    port = 1

    def __init__(self):
        self.starts, self.ended = 0, False

    def start(self):
        self.starts, self.ended = self.starts + 1, False

    def has_ended(self, seconds):
        return self.ended

    def last_words(self):
        return "it printed nothing"

    def end(self):
        self.ended = True


@pytest.fixture
def handler():
    made = []

    def make(*answers, **options):
        one = OpenAIServer("serve {port}", concurrency=1, **options)
        one._server = Process()
        one.setup()
        if answers:
            one._client = Asked(*answers)
        made.append(one)
        return one

    yield make
    for one in made:
        one.teardown()


def item(text, **fields):
    more = {name.encode(): value for name, value in fields.items()}
    return Item("1-0", Fields({b"payload": text.encode(), **more}))


def ok(said):
    return Answer(200, json.dumps(said).encode())


def test_a_command_needs_no_place_for_its_port_where_that_is_given():
    assert OpenAIServer("serve", port=8000)._server.port == 8000


@pytest.mark.parametrize(("key", "sent"), [("secret", "Bearer secret"), ("", None)])
def test_a_key_is_sent_where_there_is_one(handler, key, sent):
    assert handler(api_key=key)._client._headers.get("Authorization") == sent


@pytest.mark.parametrize(
    ("endpoint", "body", "answer", "result"),
    [
        (
            CHAT,
            {"messages": [{"role": "user", "content": "hi"}]},
            {"choices": [{"message": {"content": "HI"}}]},
            {"text": "HI"},
        ),
        (COMPLETIONS, {"prompt": "hi"}, {"choices": [{"text": "HI"}]}, {"text": "HI"}),
        (EMBEDDINGS, {"input": "hi"}, {"data": [{"embedding": [1]}]}, {"embedding": [1]}),
        ("/rerank", {"input": "hi"}, {"scores": [1]}, {"scores": [1]}),
    ],
)
def test_a_text_is_asked_and_answered_as_its_endpoint_wants_it(
    handler, endpoint, body, answer, result
):
    one = handler(ok(answer), endpoint=endpoint)
    assert one([item("hi")]) == [result]
    assert one._client.seen == [(endpoint, body)]


def test_a_model_and_parameters_are_in_each_request(handler):
    one = handler(ok({}), ok({}), endpoint="/x", model="m", parameters={"n": 1})
    one([item("hi"), item('{"model": "theirs", "a": 2}')])
    assert [body for _, body in one._client.seen] == [
        {"n": 1, "input": "hi", "model": "m"},
        {"n": 1, "a": 2, "model": "m"},
    ]


@pytest.mark.parametrize("text", ["5", "[1]", "{not JSON", "null"])
def test_only_an_object_is_a_request(handler, text):
    one = handler(ok({}), endpoint="/x")
    one([item(text, url=b"/other")])
    assert one._client.seen == [("/x", {"input": text})]


def test_the_answer_of_a_request_is_the_result_as_it_is(handler, monkeypatch):
    assert handler(Answer(200, b'{"a":1}'))([item("{}", url=b"/other")]) == [b'{"a":1}']
    monkeypatch.setenv("PODFLEET_KIND", "dataset")  # a column of text
    assert handler(Answer(200, b'{"a":1}'))([item("{}")]) == ['{"a":1}']


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"code": 1}}', {"error": {"code": 1}}),
        (b'{"message": "too long"}', {"error": {"message": "too long", "code": 400}}),
        (b'{"detail": 1}', {"error": {"message": '{"detail": 1}', "code": 400}}),
        (b"a page", {"error": {"message": "a page", "code": 400}}),
    ],
)
def test_a_refusal_of_a_request_of_a_batch_is_an_object(handler, body, error):
    assert handler(Answer(400, body))([item("{}", url=b"/x")]) == [error]


@pytest.mark.parametrize(
    ("status", "kind"), [(300, RuntimeError), (400, BadItem), (404, RuntimeError)]
)
def test_a_refusal_fails_its_item(handler, status, kind):
    [failed] = handler(Answer(status, b"no"))([item("hi")])
    assert type(failed) is kind
    assert str(failed) == f"the server answers {status}: no"


def test_an_item_whose_server_ended_is_asked_alone_once(handler):
    one = handler(ok({"n": 1}), None, None, ok({"n": 2}), None, endpoint="/x")
    first, second, third = one([item("a"), item("b"), item("c")])
    assert (first, second) == ({"n": 1}, {"n": 2})
    assert isinstance(third, ServerEnded)
    assert [body["input"] for _, body in one._client.seen] == ["a", "b", "c", "b", "c"]


def test_a_server_is_started_again_only_if_it_has_ended(handler, capsys):
    one = handler(ok({}), endpoint="/x")
    one([item("a")])
    assert one._server.starts == 1
    one._server.ended = True
    one._start_if_ended()
    assert one._server.starts == 2
    assert "it is started again" in capsys.readouterr().err


def test_an_item_that_cannot_be_asked_is_not_sent(handler):
    one = handler(ok({}), input_field="question")
    [failed] = one([item("x")])
    assert "has no field question" in str(failed)
    assert one._client.seen == []
