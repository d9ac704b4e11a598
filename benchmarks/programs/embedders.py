"""The ready handlers of embeddings, as the benchmark runs them: they write down what each call had."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pods.agent.handlers import Item, Result
from pods.agent.handlers.embedding import Embedding
from pods.agent.handlers.onnx import Embedder as OnnxEmbedder
from pods.agent.handlers.sentence_transformers import Embedder as TorchEmbedder

# A line for each call: its seconds, the processor's seconds in it, and the ids of its items.
CALLS = "BENCH_CALLS"


class Noted(Embedding):
    """Notes each call, and what it took."""

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        """Embed, and note it."""
        began, busy = time.perf_counter(), time.process_time()
        results = super().__call__(batch)
        took = f"{time.perf_counter() - began} {time.process_time() - busy}"
        with Path(os.environ[CALLS]).open("a") as file:
            file.write(f"{took} {' '.join(item.id for item in batch)}\n")
        return results


class SentenceTransformers(Noted, TorchEmbedder):
    """Calls of items of like length."""


class Onnx(Noted, OnnxEmbedder):
    """Calls of items of like length."""


class SentenceTransformersUnsorted(SentenceTransformers):
    """Calls of items as they come."""

    cost: Any = None


class OnnxUnsorted(Onnx):
    """Calls of items as they come."""

    cost: Any = None
