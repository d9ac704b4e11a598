"""A ready handler that embeds texts with ONNX Runtime: an ONNX file and a tokenizer, without torch."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pods.agent.handlers.embedding import TextEmbedding
from pods.agent.handlers.options import Names, WrongOption, names, option, required

POOLINGS = ("mean", "cls", "none")
FILES = ("model.onnx", "onnx/model.onnx")
TOKENIZER = "tokenizer.json"
# Files of a hub's repository that are fetched.
WANTED = (TOKENIZER, "*config.json", "*.onnx", "*.onnx_data", "*.onnx.data")
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
LONGEST_TOKENS = 512
PADS = ("[PAD]", "<pad>", "<|endoftext|>")
# How much the largest number of a vector may change beside a longer text. Of MiniLM it changes by 1e-6,
# and in a file that ignores the attention mask by about its own size.
LARGEST_CHANGE = 0.05
SHORT = "a short text"
LONG = " ".join(["a text that is longer than the other one, so that it has padding"] * 3)


class WrongModel(Exception):
    """The model cannot give right vectors."""


class Embedder(TextEmbedding):
    """Text in, vector out: `handle = Embedder("Xenova/bge-small-en-v1.5", pooling="cls")`.

    model: a folder, or a name of the Hugging Face hub (needs huggingface-hub), with `model.onnx` or
    `onnx/model.onnx`, and `tokenizer.json`. file: another ONNX file in it. pooling: mean, cls, or none
    for a model that gives one vector for each text. providers: of ONNX Runtime; by default CUDA if the
    package has it, then the CPU. max_tokens: what is longer is cut; by default what
    sentence_bert_config.json says, else 512. threads: of the CPU; 0: all cores. batch_size, batch_cost,
    normalize and output are as in `sentence_transformers.Embedder`.
    """

    def __init__(
        self,
        model: "str | None" = None,
        *,
        file: "str | None" = None,
        pooling: "str | None" = None,
        providers: Names = None,
        max_tokens: "int | None" = None,
        threads: "int | None" = None,
        batch_size: "int | None" = None,
        batch_cost: "float | None" = None,
        normalize: "bool | None" = None,
        input_field: "str | None" = None,
        output: "str | None" = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size, batch_cost=batch_cost, input_field=input_field, output=output
        )
        self._name = required("model", model, "Xenova/all-MiniLM-L6-v2")
        self._file = option("file", file, "")
        self._pooling = option("pooling", pooling, POOLINGS[0])
        if self._pooling not in POOLINGS:
            raise WrongOption(f"pooling is {self._pooling!r}; give {', '.join(POOLINGS)}")
        self._providers = names("providers", providers)
        self._max_tokens = option("max_tokens", max_tokens, 0)
        self._threads = option("threads", threads, 0)
        self._normalize = option("normalize", normalize, True)

    def setup(self) -> None:
        """Load the model and its tokenizer, and try whether padding changes a vector."""
        folder = folder_of(self._name)
        self._numpy = import_module("numpy")
        runtime = import_module("onnxruntime")
        told = runtime.SessionOptions()
        told.intra_op_num_threads = self._threads
        there = runtime.get_available_providers()
        chosen = self._providers or [name for name in PROVIDERS if name in there]
        if missing := [name for name in chosen if name not in there]:
            raise WrongOption(f"onnxruntime has no {missing[0]} here; it has {', '.join(there)}")
        path = str(onnx_file(folder, self._file))
        self._session = runtime.InferenceSession(path, told, providers=chosen)
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._words = self._tokenizer(folder)
        try_padding(self.vectors)

    def vectors(self, inputs: Sequence[Any]) -> Any:
        """The vectors, of the model's first output."""
        numpy = self._numpy
        read = self._words.encode_batch(list(inputs))
        ids = numpy.array([one.ids for one in read], dtype=numpy.int64)
        mask = numpy.array([one.attention_mask for one in read], dtype=numpy.int64)
        kinds = numpy.array([one.type_ids for one in read], dtype=numpy.int64)
        told = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
        fed = {name: value for name, value in told.items() if name in self._inputs}
        found = self._session.run(None, fed)[0].astype("float32", copy=False)
        return self._pooled(found, mask)

    def _pooled(self, found: Any, mask: Any) -> Any:
        numpy = self._numpy
        if (found.ndim == 2) is not (self._pooling == "none"):
            shape = "one vector for each text" if found.ndim == 2 else "a vector for each token"
            right = "none" if found.ndim == 2 else "mean or cls"
            raise WrongModel(f"the model gives {shape}; set pooling to {right}")
        if self._pooling == "cls":
            found = found[:, 0]
        elif self._pooling == "mean":
            weights = mask[..., None].astype("float32")
            found = (found * weights).sum(1) / weights.sum(1).clip(1e-9)
        if self._normalize:
            found = found / numpy.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
        return found.astype("float32", copy=False)

    def _tokenizer(self, folder: Path) -> Any:
        words = import_module("tokenizers").Tokenizer.from_file(str(folder / TOKENIZER))
        # The file's own truncation may be shorter than what the model was trained for.
        words.enable_truncation(self._max_tokens or longest_of(folder))
        padding: Mapping[str, Any] = words.padding or {}
        token = padding.get("pad_token") or next(
            (pad for pad in PADS if words.token_to_id(pad) is not None), PADS[0]
        )
        words.enable_padding(pad_id=words.token_to_id(token) or 0, pad_token=token)
        return words


def try_padding(vectors: Callable[[Sequence[str]], Any]) -> None:
    """Embed a short text alone and beside a long one.

    Raises:
        WrongModel: the vectors differ, because the model does not use its attention mask.
    """
    alone, beside = vectors([SHORT])[0], vectors([SHORT, LONG])[0]
    scale = max(1e-9, float(abs(alone).max()))
    change = float(abs(alone - beside).max()) / scale
    if not change <= LARGEST_CHANGE:
        raise WrongModel(
            f"the vector of a short text changes by {change:.0%} beside a longer text, so this ONNX "
            "file does not use its attention mask. Export it again with "
            'attn_implementation="eager" and an '
            "example that has padding"
        )


def folder_of(model: str) -> Path:
    """The folder of a model: the name itself, or what the hub has under it."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    hub = import_module("huggingface_hub")
    return Path(hub.snapshot_download(model, allow_patterns=list(WANTED)))


def onnx_file(folder: Path, wanted: str) -> Path:
    """The ONNX file of a model.

    Raises:
        WrongOption: it is not there; the message names those that are.
    """
    for name in [wanted] if wanted else FILES:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(str(p.relative_to(folder)) for p in folder.rglob("*.onnx"))) or "none"
    raise WrongOption(
        f"{folder} has no {wanted or ' and no '.join(FILES)}; of ONNX files it has {there}"
    )


def longest_of(folder: Path) -> int:
    """The tokens that a model of Sentence Transformers was made for; else 512."""
    file = folder / "sentence_bert_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return int(said.get("max_seq_length") or LONGEST_TOKENS)
