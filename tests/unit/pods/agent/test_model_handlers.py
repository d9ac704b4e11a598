"""How ready handlers load their models and what they ask of them, with stand-ins for the libraries.

tests/integration/pods/agent/test_real_models.py has the real ones.
"""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pods.agent.calling import Caller
from pods.agent.handlers import Fields, Item
from pods.agent.handlers.onnx import (
    LONGEST_TOKENS,
    Embedder,
    WrongModel,
    folder_of,
    longest_of,
    onnx_file,
)
from pods.agent.handlers.options import WrongOption
from pods.agent.handlers.pace import Pace
from pods.agent.handlers.sentence_transformers import Embedder as TorchEmbedder
from pods.agent.handlers.whisper import Transcriber
from pods.agent.handlers.wordllama import Embed


def item(**fields):
    return Item("1-0", Fields({name.encode(): value for name, value in fields.items()}))


@pytest.fixture
def library(monkeypatch):
    """Put a stand-in for a library."""

    def put(name, **parts):
        module = ModuleType(name)
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, name, module)

    return put


# ONNX Runtime.

VOCABULARY = {"[UNK]": 0, "a": 1, "b": 2, "<pad>": 3, "[PAD]": 4}


class Session:
    """A model that gives each token a vector of its id; `made` are all of them."""

    made: list = []  # noqa: RUF012 - the fixture empties it

    def __init__(self, path, told, *, providers):
        self.path, self.threads, self.providers = path, told.intra_op_num_threads, providers
        self.fed = {}
        Session.made.append(self)

    def get_inputs(self):
        return [SimpleNamespace(name="input_ids"), SimpleNamespace(name="attention_mask")]

    def run(self, _, fed):
        self.fed = fed
        ids, mask = fed["input_ids"], fed["attention_mask"]
        tokens = np.stack([ids * mask, 0 * ids, ids * mask], axis=2)
        return [tokens.astype("float64")]


@pytest.fixture
def runtime(library):
    Session.made.clear()
    library(
        "onnxruntime",
        SessionOptions=SimpleNamespace,
        InferenceSession=Session,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )


def put_tokenizer(folder, vocabulary=VOCABULARY, **padding):
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if padding:
        words.enable_padding(**padding)
    words.save(str(folder / "tokenizer.json"))


@pytest.fixture
def folder(tmp_path):
    put_tokenizer(tmp_path)
    (tmp_path / "model.onnx").touch()
    return tmp_path


def embedder(folder, **options):
    made = Embedder(str(folder), **options)
    made.setup()
    return made


def test_a_model_gets_the_inputs_that_it_has_on_the_providers_that_are_there(runtime, folder):
    vectors = embedder(folder, normalize=False, threads=3).vectors(["a b", "b"])
    [session] = Session.made
    assert session.path == str(folder / "model.onnx")
    assert session.providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert session.threads == 3
    assert set(session.fed) == {"input_ids", "attention_mask"}
    assert session.fed["input_ids"].tolist() == [[1, 2], [2, 4]]  # [PAD] is 4
    assert vectors.tolist() == [[1.5, 0, 1.5], [2, 0, 2]]
    assert vectors.dtype == np.float32


def test_only_providers_that_are_there_are_asked_for(runtime, folder, library):
    library(
        "onnxruntime",
        SessionOptions=SimpleNamespace,
        InferenceSession=Session,
        get_available_providers=lambda: ["CPUExecutionProvider"],
    )
    embedder(folder)
    embedder(folder, providers="CPUExecutionProvider")
    assert [session.providers for session in Session.made] == [["CPUExecutionProvider"]] * 2
    with pytest.raises(WrongOption, match="has no Tensorrt here; it has CPUExecutionProvider"):
        embedder(folder, providers=["CPUExecutionProvider", "Tensorrt"])


def test_a_vector_is_the_first_tokens_or_the_mean_and_of_length_1(runtime, folder):
    assert embedder(folder, pooling="cls", normalize=False).vectors(["a b"]).tolist() == [[1, 0, 1]]
    [vector] = embedder(folder).vectors(["a b"])
    assert vector.tolist() == pytest.approx([0.5**0.5, 0, 0.5**0.5])


def test_a_pooling_that_does_not_fit_the_model_is_named(runtime, folder, monkeypatch):
    with pytest.raises(WrongModel, match="a vector for each token; set pooling to mean or cls"):
        embedder(folder, pooling="none")
    monkeypatch.setattr(Session, "run", lambda self, _, fed: [np.ones((len(fed["input_ids"]), 3))])
    with pytest.raises(WrongModel, match="gives one vector for each text; set pooling to none"):
        embedder(folder)
    assert embedder(folder, pooling="none", normalize=False).vectors(["a"]).tolist() == [[1, 1, 1]]


def padding_of(folder):
    padding = embedder(folder)._words.padding
    return padding["pad_token"], padding["pad_id"]


def test_padding_is_that_of_the_file_or_the_first_usual_one_that_the_model_knows(runtime, folder):
    assert padding_of(folder) == ("[PAD]", 4)
    put_tokenizer(folder, pad_token="a", pad_id=1)
    assert padding_of(folder) == ("a", 1)
    put_tokenizer(folder, {"[UNK]": 0, "a": 1, "<pad>": 2})
    assert padding_of(folder) == ("<pad>", 2)
    put_tokenizer(folder, {"[UNK]": 0, "a": 1})
    assert padding_of(folder) == ("[PAD]", 0)


def tokens_of(folder, **options):
    return embedder(folder, **options)._words.truncation["max_length"]


def test_a_text_is_cut_where_the_fleet_or_the_model_says(runtime, folder):
    assert tokens_of(folder) == LONGEST_TOKENS
    assert tokens_of(folder, max_tokens=7) == 7
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    assert tokens_of(folder) == 256
    assert tokens_of(folder, max_tokens=7) == 7
    (folder / "sentence_bert_config.json").write_text("{}")
    assert longest_of(folder) == LONGEST_TOKENS


def test_a_model_is_a_folder_or_a_name_of_the_hub(library, folder):
    library("huggingface_hub", snapshot_download=lambda name, allow_patterns: f"/hub/{name}")
    assert folder_of(str(folder)) == folder
    assert str(folder_of("some/model")) == "/hub/some/model"


def test_the_file_of_a_model_is_named_where_it_is_missing(tmp_path):
    with pytest.raises(
        WrongOption, match=r"no model.onnx and no onnx/model.onnx; of ONNX files it has none"
    ):
        onnx_file(tmp_path, "")
    (tmp_path / "onnx").mkdir()
    for name in ("onnx/model.onnx", "onnx/q8.onnx"):
        (tmp_path / name).touch()
    assert onnx_file(tmp_path, "") == tmp_path / "onnx/model.onnx"
    assert onnx_file(tmp_path, "onnx/q8.onnx") == tmp_path / "onnx/q8.onnx"
    with pytest.raises(
        WrongOption, match=r"no q4.onnx; of ONNX files it has onnx/model.onnx, onnx/q8.onnx"
    ):
        onnx_file(tmp_path, "q4.onnx")


# Sentence Transformers.


class Model:
    """Gives each text its length, and says on which device it is."""

    def __init__(self, name, *, device, **more):
        self.device, self.more, self.max_seq_length = device, more, None
        self.calls = []

    def to(self, dtype):
        self.dtype = dtype
        return self

    def eval(self):
        return self

    def encode(self, texts, **told):
        self.calls.append((texts, told))
        return np.array([[len(text), 1.0] for text in texts])


class Kind:
    """A type of numbers."""


@pytest.fixture
def torch(library):
    def put(gpus):
        library(
            "torch",
            dtype=Kind,
            float32=Kind(),
            float16=Kind(),
            nothing=1,
            cuda=SimpleNamespace(device_count=lambda: gpus),
        )
        library("sentence_transformers", SentenceTransformer=Model)

    return put


@pytest.mark.parametrize(
    ("gpus", "devices", "used"),
    [
        (0, None, [None]),
        (2, None, ["cuda:0", "cuda:1"]),
        (2, "cpu", ["cpu"]),
        (0, ["cuda:1"], ["cuda:1"]),
    ],
)
def test_a_model_is_on_the_devices_that_are_named_or_on_all_gpus(torch, gpus, devices, used):
    torch(gpus)
    made = TorchEmbedder("m", devices=devices, batch_size=8, batch_cost=10.0)
    made.setup()
    assert [model.device for model in made._models] == used
    assert (made.batch_size, made.batch_cost) == (8 * len(used), 10.0 * len(used))
    made.teardown()
    assert made._threads._shutdown


def test_a_handler_that_was_not_loaded_can_be_ended():
    TorchEmbedder("m").teardown()


@pytest.mark.parametrize("dtype", ["nothing", "unknown"])
def test_a_type_of_numbers_that_is_none_is_refused(torch, dtype):
    torch(0)
    with pytest.raises(WrongOption, match=f"dtype is '{dtype}'; give float32"):
        TorchEmbedder("m", dtype=dtype).setup()


def test_each_device_gets_its_part_and_the_vectors_keep_their_order(torch):
    torch(2)
    made = TorchEmbedder("m", max_tokens=9, prompt="query: ", revision="r")
    made.setup()
    vectors = made.vectors(["a", "bb", "ccc"])
    assert vectors.tolist() == [[1, 1], [2, 1], [3, 1]]
    first, second = made._models
    assert [texts for texts, _ in first.calls] == [["a", "ccc"]]
    assert [texts for texts, _ in second.calls] == [["bb"]]
    assert first.calls[0][1]["prompt"] == "query: "
    assert (first.max_seq_length, first.more) == (9, {"revision": "r"})
    assert made.vectors(["a"]).tolist() == [[1, 1]]
    made.teardown()


def test_one_device_gets_all_and_no_prompt_that_is_not_given(torch):
    torch(1)
    made = TorchEmbedder("m")
    made.setup()
    assert made.vectors(["a", "bb"]).dtype == np.float32
    [(texts, told)] = made._models[0].calls
    assert (texts, "prompt" in told, told["batch_size"]) == (["a", "bb"], False, 2)
    assert made._models[0].max_seq_length is None
    made.teardown()


# Whisper.


@pytest.fixture
def whisper(library):
    def heard(name):
        def transcribe(samples, **told):
            part = SimpleNamespace(start=0.12345, end=1.0, text=f" {name} ")
            return [part], SimpleNamespace(language=told["language"] or "found", duration=1.0)

        return SimpleNamespace(transcribe=transcribe)

    def decode(body, *, sampling_rate):
        if body.getvalue() == b"noise":
            raise ValueError("no audio")
        return body

    library(
        "faster_whisper",
        WhisperModel=lambda name, **how: heard(name),
        BatchedInferencePipeline=lambda model: heard("in chunks"),
        decode_audio=decode,
    )


@pytest.mark.parametrize(
    ("options", "text", "language"),
    [
        ({}, "m", "found"),
        ({"language": "de"}, "m", "de"),
        ({"chunks": 4}, "in chunks", "found"),
    ],
)
def test_a_recording_is_heard_in_the_language_and_the_way_that_the_fleet_says(
    whisper, options, text, language
):
    made = Transcriber("m", **options)
    made.setup()
    good, bad = made([item(audio=b"a", payload=b"x"), item(payload=b"noise")])
    assert (good["text"], good["language"]) == (text, language)
    assert good["segments"] == [{"start": 0.123, "end": 1.0, "text": text}]
    assert str(bad) == "the audio cannot be read: no audio"
    assert made._told.get("batch_size") == options.get("chunks")
    assert made._told["language"] == options.get("language")
    made.teardown()


def test_the_audio_is_in_the_field_that_the_fleet_names(whisper):
    made = Transcriber("m", input_field="sound")
    made.setup()
    good, bad = made([item(sound=b"a"), item(audio=b"a")])
    assert good["text"] == "m"
    assert "has no field sound" in str(bad)
    made.teardown()


# WordLlama, which is there, and the pace.


def test_texts_are_embedded_and_an_item_without_one_fails_alone(monkeypatch):
    monkeypatch.setenv("PACE_RATE", "100000")
    embed = Embed()
    embed.setup()
    good, bad, missing = Caller(embed)(
        [item(payload=b"a text"), item(payload=b"\xff"), item(x=b"")]
    )
    assert len(json.loads(good)["embedding"]) == 256
    assert "UnicodeDecodeError" in bad.error
    assert missing.final
    assert embed._pace.rate == 100_000
    assert embed._pace._due is not None
    [alone] = Caller(embed)([item(payload=b"\xff")])
    assert "UnicodeDecodeError" in alone.error
    monkeypatch.delenv("PACE_RATE")
    embed.setup()
    assert embed._pace is None
    assert isinstance(Caller(embed)([item(payload=b"a text")])[0], bytes)


def test_a_pace_is_kept_against_a_deadline():
    with pytest.raises(ValueError, match="PACE_RATE is 0; give items per second above 0"):
        Pace(0)
    pace = Pace(1000)
    assert pace([item()] * 2) == ["ok", "ok"]
    first = pace._due
    pace([item()] * 3)
    assert pace._due == first + 3 / 1000  # not of the time at which it was asked
