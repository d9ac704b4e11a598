"""A ready handler for any server with OpenAI's API (vLLM, TEI, Infinity, llama.cpp) inside the pod."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Union

from pods.agent.handlers import BadItem, Item, Result
from pods.agent.handlers.inputs import text_of
from pods.agent.handlers.options import WrongOption, option, required
from pods.agent.handlers.requesting import Answer, Client, shown
from pods.agent.handlers.serving import PORT, Server, ServerEnded
from pods.agent.protocol import DATASET

# Ends of paths: some servers have no /v1 before them.
EMBEDDINGS, CHAT, COMPLETIONS = "/embeddings", "/chat/completions", "/completions"
# So many requests for each one that is under way are given at once, so that few wait for the last one.
ROUNDS = 4
# The input is wrong, whoever is asked. Other refusals are the pod's: a wrong key, an unknown model.
BAD_INPUT = {400, 413, 422}
URL = b"url"  # of a request in a batch of the OpenAI API: docs/reference/openai-batches.md


class Request(NamedTuple):
    """One request to the server."""

    path: str
    body: bytes
    whole: bool  # the answer is the result, as it is
    of_batch: bool = False  # the caller wants to see a refusal as an object


class OpenAIServer:
    """Text or request in, answer out: `handle = OpenAIServer("vllm serve MODEL --port {port}")`.

    command: starts the server; `{port}` is a free port. endpoint: where texts go, /v1/chat/completions
    unless you name another one. model: put into each request. parameters: more fields of each request,
    such as max_tokens. concurrency: requests at a time. health: answers 200 when the server can work.
    start_seconds: how long that may take. request_seconds: how long an answer may take.
    patience_seconds: how long a busy server is asked again. api_key: sent as a bearer token. port: where
    the command has no `{port}`.
    """

    def __init__(
        self,
        command: "str | Sequence[str] | None" = None,
        *,
        endpoint: "str | None" = None,
        model: "str | None" = None,
        parameters: "Mapping[str, Any] | None" = None,
        concurrency: "int | None" = None,
        health: "str | None" = None,
        start_seconds: "float | None" = None,
        request_seconds: "float | None" = None,
        patience_seconds: "float | None" = None,
        input_field: "str | None" = None,
        api_key: "str | None" = None,
        port: "int | None" = None,
    ) -> None:
        words = _words(command)
        self._endpoint = option("endpoint", endpoint, "/v1" + CHAT)
        self._model, self._parameters = option("model", model, ""), _parameters(parameters)
        self._concurrency = option("concurrency", concurrency, 32)
        self._request_seconds = option("request_seconds", request_seconds, 300.0)
        self._patience_seconds = option("patience_seconds", patience_seconds, 300.0)
        field = option("input_field", input_field, "")
        self._fields = [field] if field else ["payload", "text"]
        self._api_key = option("api_key", api_key, "")
        self.batch_size = ROUNDS * self._concurrency
        self._columns = os.environ.get("PODFLEET_KIND") == DATASET
        fixed = option("port", port, 0)
        if not fixed and not any(PORT in word for word in words):
            raise WrongOption("the command has no {port}; write --port {port}, or give port=8000")
        self._server = Server(
            words,
            health=option("health", health, "/health"),
            start_seconds=option("start_seconds", start_seconds, 900.0),
            port=fixed,
        )

    def setup(self) -> None:
        """Start the server and wait until it is healthy."""
        self._threads = ThreadPoolExecutor(self._concurrency)
        self._start()

    def teardown(self) -> None:
        """End the server."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._server.end()

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        """The answer for each item, or why it has none."""
        asked = [self._request(item) for item in batch]
        self._start_if_ended()
        results = list(self._threads.map(self._answered, asked))
        for place, result in enumerate(results):
            if result is not None:
                continue
            # The server ended. One of its requests may be the reason, so each has it alone once.
            self._start_if_ended()
            alone = self._answered(asked[place])
            results[place] = self._ended() if alone is None else alone
        return results

    def _start(self) -> None:
        self._server.start()
        self._client = Client(
            self._server.port,
            request_seconds=self._request_seconds,
            patience_seconds=self._patience_seconds,
            is_gone=self._server.has_ended,
            headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else None,
        )

    def _start_if_ended(self) -> None:
        """Start the server again where it is gone.

        A server that does not start any more ends this process. The agent then loads the handler again,
        and says why that fails.
        """
        if not self._server.has_ended(0):
            return
        sys.stderr.write(f"podfleet: {self._ended()}; it is started again\n")
        try:
            self._start()
        except ServerEnded as exc:
            raise SystemExit(f"podfleet: {exc}") from exc

    def _ended(self) -> ServerEnded:
        return ServerEnded(f"the server ended while it worked: {self._server.last_words()}")

    def _request(self, item: Item) -> Union[Request, Exception]:
        try:
            text = text_of(item, self._fields, whole=True)  # an object is a request
            given = _object(text)
            of_batch = URL in item.fields and given is not None
            path = item.fields[URL].decode() if of_batch else self._endpoint
            body = {**self._parameters, **(given if given is not None else self._body(text))}
        except Exception as exc:  # noqa: BLE001 - this item alone fails
            return exc
        if self._model:
            body["model"] = self._model
        return Request(path, json.dumps(body).encode(), given is not None, of_batch)

    def _body(self, text: str) -> "dict[str, Any]":
        if self._endpoint.endswith(CHAT):
            return {"messages": [{"role": "user", "content": text}]}
        return {"prompt" if self._endpoint.endswith(COMPLETIONS) else "input": text}

    def _answered(self, request: Union[Request, Exception]) -> Result:
        """The result of a request. None: the server ended."""
        if isinstance(request, Exception):
            return request
        try:
            answer = self._client.post(request.path, request.body)
            return None if answer is None else self._result(request, answer)
        except Exception as exc:  # noqa: BLE001 - this item alone fails
            return exc

    def _result(self, request: Request, answer: Answer) -> Result:
        if answer.status >= 300:
            why = f"the server answers {answer.status}: {shown(answer.body)}"
            if answer.status not in BAD_INPUT:
                return RuntimeError(why)
            return _error(answer) if request.of_batch else BadItem(why)
        if request.whole:
            return answer.body.decode() if self._columns else answer.body
        return _short(request.path, json.loads(answer.body))


def _short(path: str, said: "dict[str, Any]") -> Result:
    """What a user wants of an answer."""
    if path.endswith(EMBEDDINGS):
        return {"embedding": said["data"][0]["embedding"]}
    if path.endswith(CHAT):
        return {"text": said["choices"][0]["message"]["content"]}
    if path.endswith(COMPLETIONS):
        return {"text": said["choices"][0]["text"]}
    return said


def _error(answer: Answer) -> Result:
    """The server's error as an object: it becomes a line of the error file."""
    said = _object(answer.body.decode("utf-8", "replace"))
    if said is not None and "error" in said:
        return said
    message = (said or {}).get("message") or shown(answer.body)
    return {"error": {"message": message, "code": answer.status}}


def _object(text: str) -> "dict[str, Any] | None":
    """The JSON object in a text. None: it is a plain text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found: "dict[str, Any]" = json.loads(text)
    except ValueError:
        return None
    return found


def _words(command: "str | Sequence[str] | None") -> "list[str]":
    if command is not None and not isinstance(command, str):
        return list(command)
    return shlex.split(required("command", command, "vllm serve MODEL --port {port}"))


def _parameters(given: "Mapping[str, Any] | None") -> "Mapping[str, Any]":
    if given is not None:
        return given
    text = option("parameters", None, "")
    found = _object(text) if text else {}
    if found is None:
        raise WrongOption(f"HANDLER_PARAMETERS is {text!r}; give a JSON object")
    return found
