"""Calls a model in a plain loop, without our handlers: `KIND MODEL TEXTS CALLS OUT`.

KIND is `sentence_transformers` or `onnx`; TEXTS is JSON; CALLS is what embedders.py wrote; OUT gets the
vectors. Prints the seconds of the loop, without the load and a first call, and the processor's seconds.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

LONGEST_TOKENS = 256
Encode = Callable[[Sequence[str]], Any]


def torch_model(model: str) -> Encode:
    """As the library's own documentation calls it."""
    library = import_module("sentence_transformers")
    loaded = library.SentenceTransformer(model, device="cpu")

    def encode(texts: Sequence[str]) -> Any:
        return loaded.encode(
            texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False
        )

    return encode


def onnx_model(model: str) -> Encode:
    """The session, the tokenizer, and the mean of the tokens' vectors."""
    numpy, runtime = import_module("numpy"), import_module("onnxruntime")
    told = runtime.SessionOptions()
    told.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = runtime.InferenceSession(
        f"{model}/model.onnx", told, providers=["CPUExecutionProvider"]
    )
    words = import_module("tokenizers").Tokenizer.from_file(f"{model}/tokenizer.json")
    words.enable_truncation(LONGEST_TOKENS)
    words.enable_padding()

    def encode(texts: Sequence[str]) -> Any:
        read = words.encode_batch(texts)
        ids = numpy.array([one.ids for one in read], dtype=numpy.int64)
        mask = numpy.array([one.attention_mask for one in read], dtype=numpy.int64)
        found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        means = (found * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return means / numpy.linalg.norm(means, axis=1, keepdims=True)

    return encode


def main() -> None:
    """Embed the texts call by call."""
    kind, model, texts_file, calls_file, out = sys.argv[1:]
    numpy = import_module("numpy")
    texts = json.loads(Path(texts_file).read_text())
    lines = Path(calls_file).read_text().splitlines()
    calls = [[int(own_id) for own_id in line.split()[2:]] for line in lines]
    encode = {"sentence_transformers": torch_model, "onnx": onnx_model}[kind](model)
    encode(texts[:2])
    vectors = numpy.zeros((len(texts), encode(texts[:1]).shape[1]), "float32")
    began, busy = time.perf_counter(), time.process_time()
    for call in calls:
        vectors[call] = encode([texts[place] for place in call])
    took = [time.perf_counter() - began, time.process_time() - busy]
    numpy.save(out, vectors)
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main()
