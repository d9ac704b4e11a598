"""What `fleet check` does on the manager's machine, without an environment of its own."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pods.agent import bootstrap, trying

HANDLERS = """
import os
def upper(batch):
    if any(item.payload == b"bad" for item in batch):
        raise ValueError("no letters")
    return [item.payload.upper() for item in batch]
def missing(batch):
    raise RuntimeError
class Sized:
    batch_size = SIZE = 2
    def __call__(self, batch):
        return [b"%d" % len(batch)] * len(batch)
class Negative(Sized):
    batch_size = -1
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a handler and call it on items; what is answered."""
    (tmp_path / "tried_handlers.py").write_text(HANDLERS)
    (tmp_path / "needs_a_module.py").write_text("import no_such_module\n")
    (tmp_path / "needs_a_name.py").write_text("from os import no_such_name\n")
    (tmp_path / "raises.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, getattr(sys, name))

    def run(handler: str, *payloads: str, **more: Any) -> Any:
        fields = [{"fields": {"payload": payload}} for payload in payloads]
        job = {"handler": handler, "secrets": {}, "items": fields, "batch_size": 8, **more}
        file = tmp_path / "job.json"
        file.write_text(json.dumps({"answer": str(tmp_path / "answer.json"), **job}))
        monkeypatch.setattr(sys, "argv", ["trying", str(file)])
        trying.main()
        return json.loads((tmp_path / "answer.json").read_text())

    return run


def test_each_item_is_answered_with_its_result_or_its_error(check: Any) -> None:
    answer = check("tried_handlers:upper", "a", "bad")
    good, bad = answer["results"]
    assert (answer["step"], answer["gpu"]) == ("done", None)
    assert good == {"id": "0-1", "bytes": 1, "result": "A"}
    assert bad["error"] == "ValueError: no letters"
    assert answer["memory_mb"] > 1
    named = check("tried_handlers:upper", items=[{"entry": "7-1", "fields": {"payload": "a"}}])
    assert named["results"][0]["id"] == "7-1"


@pytest.mark.parametrize(("handler", "most"), [("Sized", 2), ("Negative", 3)])
def test_batches_are_as_large_as_the_handler_says(check: Any, handler: str, most: int) -> None:
    answer = check(f"tried_handlers:{handler}", "a", "b", "c")
    assert answer["results"][0]["result"] == str(most)
    assert [batch["items"] for batch in answer["batches"]] == [1, most]


def test_an_error_without_words_is_named_alone(check: Any) -> None:
    assert check("raises:x")["error"] == "SystemExit"
    answer = check("tried_handlers:upper.x")
    assert answer["step"] == "load"
    assert answer["error"] == "HandlerNotFound: tried_handlers has no upper.x"


@pytest.mark.parametrize(
    ("handler", "missing", "import_of", "absent"),
    [
        ("needs_a_module:f", "no_such_module", "no_such_module", False),
        ("needs_a_name:f", None, "os", False),
        ("raises:f", None, None, False),
        ("tried_handlers:nothing", None, None, True),
    ],
)
def test_a_module_that_cannot_be_imported_says_what_is_missing(
    check: Any, handler: str, missing: str | None, import_of: str | None, absent: bool
) -> None:
    answer = check(handler, import_alone=True, built=False)
    assert (answer["step"], answer["built"], answer["absent"]) == ("load", False, absent)
    assert (answer["missing"], answer["import_of"]) == (missing, import_of)


def test_a_module_is_imported_alone_where_that_was_asked_for(check: Any) -> None:
    answer = check("tried_handlers:upper", "bad", import_alone=True)
    assert answer == {"step": "done", "built": True}


@pytest.mark.parametrize(("there", "memory"), [(True, 3.0), (False, None)], ids=["a GPU", "no GPU"])
def test_the_memory_of_a_gpu_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch, there: bool, memory: float | None
) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: there, max_memory_allocated=lambda: 3 * trying.KB * trying.KB
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert trying._gpu() == {"there": there, "memory_mb": memory}


class Prepared:
    """A job whose code is on the disk, and how it goes on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.built, self.begun = folder, list[Any](), list[Any]()
        self.code = folder / "code" / "digest"
        (self.code / ".podfleet").mkdir(parents=True)

        def environment(cache: str, agent: str, wants: Any, env: Any, steps: Any) -> str:
            self.built.append((agent, list(wants)))
            return "/env/bin/python"

        monkeypatch.setattr(bootstrap, "environment", environment)
        monkeypatch.setattr(os, "chdir", lambda path: None)
        monkeypatch.setattr(os, "execve", lambda *words: self.begun.append(words[0]))

    def prepare(self, *wants: str, python: str = "", **more: Any) -> Any:
        """The answer, or else the job."""
        bundle = {"python": python, "requirements": wants, "paths": []}
        (self.code / ".podfleet" / "bundle.json").write_text(json.dumps(bundle))
        file, answer = self.folder / "job.json", self.folder / "answer.json"
        job = {"cache": str(self.folder), "bundle": "digest", "wheel": "/w.whl", "secrets": {}}
        file.write_text(json.dumps({**job, "answer": str(answer), **more}))
        trying.prepare(str(file))
        return json.loads((answer if answer.exists() else file).read_text())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    return Prepared(tmp_path, monkeypatch)


def test_the_environment_has_what_the_code_asks_for_and_nothing_else(job: Prepared) -> None:
    job.prepare("numpy")
    job.prepare("numpy", "podfleet-agent[onnx]")
    assert job.built == [
        ("", ["numpy"]),
        ("", ["podfleet-agent[onnx] @ file:///w.whl", "numpy"]),
    ]
    assert job.begun == ["/env/bin/python"] * 2


def test_code_for_another_python_is_not_tried_and_says_so(job: Prepared) -> None:
    answer = job.prepare("numpy", python=">=3.99")
    assert answer["step"] == "install"
    assert "the code needs Python >=3.99, and this machine has" in answer["error"]
    assert job.begun == []


def test_for_an_import_alone_nothing_is_installed(job: Prepared) -> None:
    assert job.prepare("numpy", import_alone=True)["built"] is False
    assert (job.built, job.begun) == ([], [sys.executable])
    job.prepare(import_alone=True)  # it asks for nothing
    ready = Path(bootstrap.home_of(str(job.folder), "", ["numpy"]))
    ready.mkdir(parents=True)
    (ready / "ready").touch()
    assert "built" not in job.prepare("numpy", import_alone=True)  # it was built before
    assert job.built == [("", []), ("", ["numpy"])]
