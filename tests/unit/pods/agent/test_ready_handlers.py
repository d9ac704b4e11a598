"""What ready handlers share: options, fields, files, vectors as results, and pauses between requests."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from pods.agent.calling import Caller, find
from pods.agent.dataset import values
from pods.agent.handlers import BadItem, Fields, Item, MissingField
from pods.agent.handlers.embedding import TextEmbedding
from pods.agent.handlers.inputs import downloaded, file_of, text_of, value_of
from pods.agent.handlers.onnx import Embedder as OnnxEmbedder
from pods.agent.handlers.onnx import WrongModel, try_padding
from pods.agent.handlers.openai_server import OpenAIServer
from pods.agent.handlers.options import WrongOption, names, option, required
from pods.agent.handlers.requesting import pause_before, seconds_in


def item(**fields):
    return Item("1-0", Fields({name.encode(): value for name, value in fields.items()}))


def test_an_option_is_the_argument_then_the_variable_then_the_default(monkeypatch):
    assert option("batch_size", None, 64) == 64
    monkeypatch.setenv("HANDLER_BATCH_SIZE", "8")
    assert option("batch_size", None, 64) == 8
    assert option("batch_size", 3, 64) == 3


def test_a_variable_that_is_not_of_its_type_is_refused(monkeypatch):
    monkeypatch.setenv("HANDLER_BATCH_SIZE", "many")
    with pytest.raises(WrongOption, match="HANDLER_BATCH_SIZE is 'many'; give a number such as 64"):
        option("batch_size", None, 64)
    monkeypatch.setenv("HANDLER_NORMALIZE", "maybe")
    with pytest.raises(WrongOption, match="give true or false"):
        option("normalize", None, True)
    monkeypatch.setenv("HANDLER_NORMALIZE", "False")
    assert option("normalize", None, True) is False
    monkeypatch.setenv("HANDLER_NORMALIZE", "YES")
    assert option("normalize", None, False) is True


def test_names_are_a_list_or_a_text_with_commas(monkeypatch):
    monkeypatch.setenv("HANDLER_DEVICES", "cuda:0, cuda:1")
    assert names("devices", None) == ["cuda:0", "cuda:1"]
    assert names("devices", ["cpu"]) == ["cpu"]
    assert names("devices", "cpu,, ,") == ["cpu"]


def test_what_is_required_says_both_ways_to_give_it():
    with pytest.raises(
        WrongOption, match="write model='m' in the script, or set the variable HANDLER_MODEL"
    ):
        required("model", None, "m")


@pytest.mark.parametrize(
    "name",
    [
        "sentence_transformers:Embedder",
        "onnx:Embedder",
        "clip:Embedder",
        "whisper:Transcriber",
    ],
)
def test_a_ready_handler_is_named_as_a_class_and_set_by_variables(name, monkeypatch):
    with pytest.raises(WrongOption, match="HANDLER_MODEL"):
        find(f"pods.agent.handlers.{name}")
    monkeypatch.setenv("HANDLER_MODEL", "some/model")
    assert callable(find(f"pods.agent.handlers.{name}"))


def test_a_server_needs_a_command_with_a_place_for_its_port(monkeypatch):
    with pytest.raises(WrongOption, match="HANDLER_COMMAND"):
        OpenAIServer()
    with pytest.raises(WrongOption, match=r"--port \{port\}"):
        OpenAIServer("vllm serve m")
    monkeypatch.setenv("HANDLER_PARAMETERS", "max_tokens=3")
    with pytest.raises(
        WrongOption, match="HANDLER_PARAMETERS is 'max_tokens=3'; give a JSON object"
    ):
        OpenAIServer("vllm serve m --port {port}")


def test_the_first_field_that_the_item_has_is_its_input():
    assert text_of(item(payload=b"a", text=b"b"), ["payload", "text"]) == "a"
    assert text_of(item(text=b"b"), ["payload", "text"]) == "b"
    with pytest.raises(MissingField, match="has no field image; it has payload"):
        value_of(item(payload=b"a"), ["image"])
    with pytest.raises(BadItem, match="the field text is empty"):
        text_of(item(text=b" "), ["payload", "text"])
    with pytest.raises(BadItem, match="not UTF-8"):
        text_of(item(text=b"\xff"), ["text"])


LINE = '{"id": "x1", "body": "héllo", "size": [1, 2], "gone": null}'.encode()


def test_a_field_that_the_item_lacks_is_a_key_of_its_payload():
    assert text_of(item(id=b"x1", payload=LINE), ["body"]) == "héllo"
    assert text_of(item(id=b"x1", payload=LINE, body=b"own"), ["body"]) == "own"
    assert text_of(item(payload=LINE), ["size"]) == "[1, 2]"
    assert text_of(item(payload=LINE), ["payload"]) == LINE.decode()
    assert text_of(item(payload=b'{"bod\\u0079": "escaped"}'), ["body"]) == "escaped"
    with pytest.raises(BadItem, match="the field gone is empty"):
        text_of(item(payload=LINE), ["gone"])
    with pytest.raises(BadItem, match="not UTF-8"):
        text_of(item(payload=b'{"body": "\\ud800"}'), ["body"])


def test_the_payload_is_not_looked_for_within_itself():
    inside = item(payload=b'{"payload": "inner", "text": "x"}')
    assert text_of(inside, ["payload", "text"]) == "x"
    assert text_of(item(payload=b'{"payload": "inner"}'), ["payload", "text"]).startswith("{")


def test_a_field_of_another_type_than_bytes_is_named_as_it_was_asked_for():
    with pytest.raises(MissingField, match=r"has no field 'text'; it has payload$"):
        item(payload=b"x").fields["text"]


def test_bytes_that_begin_as_an_address_and_are_too_long_for_one_are_the_file():
    body = b"http://" + b"x" * 5000
    assert file_of(item(image=body), ["image"]) == body


def test_a_field_that_is_nowhere_is_reported_with_the_keys_of_the_payload():
    with pytest.raises(MissingField) as caught:
        value_of(item(id=b"x1", payload=LINE), ["text"])
    assert str(caught.value) == (
        "the item has no field text; it has id, payload, and its payload has body, gone, id, size"
    )
    for payload in (b"body", b"[1]", b'{"body":', b"{" * 100_000 + b"body", b'["body"]'):
        with pytest.raises(MissingField, match=r"it has payload$"):
            value_of(item(payload=payload), ["body"])


@pytest.mark.parametrize(
    "fields", [["payload", "text"], ["image", "payload"], ["audio", "payload"]]
)
def test_default_fields_are_found_in_a_payload_too(fields):
    [name] = set(fields) - {"payload"}
    inside = item(payload=json.dumps({name: "inside", "n": 1}).encode())
    assert value_of(inside, fields) == b"inside"
    assert value_of(item(payload=b'{"n": 1}'), fields) == b'{"n": 1}'
    assert value_of(inside, fields, whole=True) == inside.payload


def test_a_server_gets_an_object_as_a_request_unless_a_field_is_named():
    whole = OpenAIServer("serve {port}")._request(item(payload=b'{"text": "a"}'))
    assert (json.loads(whole.body), whole.whole) == ({"text": "a"}, True)
    named = OpenAIServer("serve {port}", input_field="text")._request(
        item(payload=b'{"text": "a"}')
    )
    assert json.loads(named.body) == {"messages": [{"role": "user", "content": "a"}]}


class Files(BaseHTTPRequestHandler):
    def do_GET(self):
        code = int(self.path.strip("/") or 200)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b"\xff" * 1000)

    def log_message(self, *_):
        pass


@pytest.fixture
def files():
    with HTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_an_address_is_downloaded_and_bytes_are_taken_as_they_are(files):
    assert file_of(item(image=f"{files}200\n".encode()), ["image"]) == b"\xff" * 1000
    assert file_of(item(image=b"\x89PNG"), ["image"]) == b"\x89PNG"


def test_a_file_that_is_refused_is_a_bad_item_and_a_server_in_trouble_is_not(files):
    for status in (404, 410):
        with pytest.raises(BadItem, match=f"answers {status}"):
            downloaded(f"{files}{status}")
    with pytest.raises(OSError, match="answers 503"):
        downloaded(f"{files}503")
    with pytest.raises(BadItem, match="has more than 999 bytes"):
        downloaded(files, largest=999)
    with pytest.raises(BadItem, match="is not an address"):
        file_of(item(image=b"http://[oops"), ["image"])


class Lengths(TextEmbedding):
    """A model of three numbers."""

    def vectors(self, inputs):
        return np.array([[len(text), 1 / 3, 0.1] for text in inputs], dtype="float32")


def lengths(**options):
    told = {"batch_size": None, "batch_cost": None, "input_field": None, "output": None}
    return Lengths(**told | options)


def test_a_vector_is_short_json_and_only_the_item_without_a_text_fails():
    good, missing, empty = Caller(lengths())([item(payload=b"ab"), item(url=b"x"), item(text=b"")])
    assert good == b'{"embedding":[2.0,0.3333333,0.1]}'
    assert missing.final
    assert "has no field payload; it has url" in missing.error
    assert empty.final


def test_a_vector_may_be_the_bytes_of_float32():
    [raw] = Caller(lengths(output="bytes"))([item(text=b"ab")])
    assert np.frombuffer(raw, "<f4").tolist() == [2.0, np.float32(1 / 3), np.float32(0.1)]
    with pytest.raises(WrongOption, match="give json or bytes"):
        lengths(output="text")


@pytest.mark.parametrize("output", ["json", "bytes"])
def test_a_vector_that_is_not_a_number_fails_its_item_alone(output):
    class Overflows(Lengths):
        def vectors(self, inputs):
            found = super().vectors(inputs)
            found[[text == "bad" for text in inputs], 1] = np.inf
            return found

    told = {"batch_size": None, "batch_cost": None, "input_field": None, "output": output}
    good, bad = Caller(Overflows(**told))([item(text=b"ok"), item(text=b"bad")])
    assert isinstance(good, bytes)
    assert "NaN or infinity" in bad.error


def test_in_a_dataset_a_vector_is_exact_in_a_column_of_its_own(monkeypatch):
    monkeypatch.setenv("PODFLEET_KIND", "dataset")
    [raw] = Caller(lengths(output="bytes"), values.packed)([item(text=b"ab")])
    vector = values.unpacked(raw)["embedding"]
    assert np.frombuffer(vector.raw, "<f4").tolist() == [2.0, np.float32(1 / 3), np.float32(0.1)]


def test_another_field_may_be_the_input():
    [result] = Caller(lengths(input_field="body"))([item(body=b"abc", payload=b"x")])
    assert json.loads(result)["embedding"][0] == 3.0


def test_the_cost_of_a_text_is_that_of_its_field_in_the_payload():
    embed = lengths(input_field="body")
    assert embed.cost(item(payload=LINE)) == len("héllo".encode())
    assert embed.cost(item(payload=b"plain")) == 0
    assert json.loads(Caller(embed)([item(payload=LINE)])[0])["embedding"][0] == 5.0


def test_a_model_that_ignores_its_attention_mask_is_refused():
    def right(texts):
        return np.array([[len(text), 1.0] for text in texts])

    def wrong(texts):
        longest = max(map(len, texts))
        return np.array([[len(text), longest] for text in texts])

    try_padding(right)
    with pytest.raises(WrongModel, match="does not use its attention mask"):
        try_padding(wrong)
    with pytest.raises(WrongModel):
        try_padding(lambda texts: np.full((len(texts), 2), np.nan))


def test_onnx_needs_a_pooling_that_it_knows():
    with pytest.raises(WrongOption, match="pooling is 'max'; give mean, cls, none"):
        OnnxEmbedder("m", pooling="max")


def test_pauses_double_up_to_a_limit_and_a_server_that_says_when_is_obeyed():
    assert [pause_before(n, None, 1.0) for n in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert pause_before(1, None, 0.0) == 0.125
    assert pause_before(1000, None, 1.0) == 20.0
    assert pause_before(1, 3.0, 1.0) == 3.0
    assert pause_before(1, 86_400.0, 1.0) == 60.0
    assert pause_before(1, -1.0, 1.0) == 0.0


def test_a_retry_after_that_is_a_date_is_not_seconds():
    assert seconds_in("1.5") == 1.5
    assert seconds_in("Tue, 01 Dec 2026 09:00:00 GMT") is None
    assert seconds_in(None) is None
