"""A ready handler that embeds texts with any model of Sentence Transformers, on all GPUs of the pod."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from pods.agent.handlers.embedding import Embedding, TextEmbedding
from pods.agent.handlers.options import Names, WrongOption, names, option, required


class OnDevices(Embedding):
    """A model of Sentence Transformers on one or more devices.

    model: a name of the Hugging Face hub, or a folder. dtype: float32, float16 or bfloat16. devices:
    "cuda", "cuda:0,cuda:1", "cpu"; by default all GPUs, else what the library finds. batch_size: texts
    in a call of one GPU. batch_cost: the most that texts × bytes of the longest text may be in a call.
    max_tokens: what is longer is cut; by default the model's own limit. normalize: to length 1. prompt:
    put before each text. output: "json", or "bytes" (little-endian float32). Other keywords go to
    SentenceTransformer. Each can be a variable instead: HANDLER_MODEL, HANDLER_DTYPE …
    """

    def __init__(
        self,
        model: "str | None" = None,
        *,
        dtype: "str | None" = None,
        devices: Names = None,
        batch_size: "int | None" = None,
        batch_cost: "float | None" = None,
        max_tokens: "int | None" = None,
        normalize: "bool | None" = None,
        prompt: "str | None" = None,
        input_field: "str | None" = None,
        output: "str | None" = None,
        **more: Any,
    ) -> None:
        super().__init__(
            batch_size=batch_size, batch_cost=batch_cost, input_field=input_field, output=output
        )
        self._name = required("model", model, "sentence-transformers/all-MiniLM-L6-v2")
        self._dtype = option("dtype", dtype, "float32")
        self._devices = names("devices", devices)
        self._max_tokens = option("max_tokens", max_tokens, 0)
        self._normalize = option("normalize", normalize, True)
        self._prompt = option("prompt", prompt, "")
        self._more: "Mapping[str, Any]" = more
        self._models: "list[Any]" = []
        self._threads: "ThreadPoolExecutor | None" = None

    def setup(self) -> None:
        """Load the model onto each device."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        torch, library = import_module("torch"), import_module("sentence_transformers")
        dtype = getattr(torch, self._dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise WrongOption(f"dtype is {self._dtype!r}; give float32, float16 or bfloat16")
        gpus = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        for device in self._devices or gpus or [""]:
            model = library.SentenceTransformer(self._name, device=device or None, **self._more)
            model = model.to(dtype).eval()
            if self._max_tokens:
                model.max_seq_length = self._max_tokens
            self._models.append(model)
        self.batch_size *= len(self._models)
        self.batch_cost *= len(self._models)
        self._threads = ThreadPoolExecutor(len(self._models))
        where = ", ".join(str(model.device) for model in self._models)
        sys.stderr.write(f"podfleet: {self._name} is on {where}\n")

    def teardown(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown()

    def vectors(self, inputs: Sequence[Any]) -> Any:
        """The vectors. Each GPU takes its part of the inputs, of about the same lengths."""
        if len(self._models) == 1 or self._threads is None:
            return self._encoded(self._models[0], inputs)
        numpy = import_module("numpy")
        count = min(len(self._models), len(inputs))
        parts = [inputs[first::count] for first in range(count)]
        made = list(self._threads.map(self._encoded, self._models[:count], parts))
        found = numpy.empty((len(inputs), made[0].shape[1]), "float32")
        for first, part in enumerate(made):
            found[first::count] = part
        return found

    def _encoded(self, model: Any, inputs: Sequence[Any]) -> Any:
        prompt = {"prompt": self._prompt} if self._prompt else {}
        vectors = model.encode(
            list(inputs),
            batch_size=len(inputs),
            convert_to_numpy=True,
            normalize_embeddings=self._normalize,
            show_progress_bar=False,
            **prompt,
        )
        return vectors.astype("float32", copy=False)


class Embedder(OnDevices, TextEmbedding):
    """Text in, vector out: `handle = Embedder("BAAI/bge-small-en-v1.5", dtype="float16")`."""
