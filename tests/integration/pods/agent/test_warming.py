"""A model of the hub is fetched as a step of the boot, and a failure says why."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from pods.agent import warming
from pods.agent.bootstrap import Steps
from pods.agent.start import Failed
from tests.support.hub import Hub, a_hub

NAME = "org/small"
FILES = {"config.json": b"{}", "model.safetensors": b"w" * 3_000_000, "pytorch_model.bin": b"old"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with a_hub() as made:
        made.models[NAME] = FILES
        yield made


class Heard(Steps):
    """Keeps the notes of the steps."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "note" and value:
            self.notes.append(str(value))
        super().__setattr__(name, value)


def fetch(hub: Hub, folder: Path, name: str = NAME, **more: str) -> Heard:
    steps = Heard()
    secrets = {n: more.pop(n) for n in list(more) if n == "HF_TOKEN"}
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT),
        "HF_HOME": str(folder / "models"), "HF_ENDPOINT": hub.url, "HANDLER_MODEL": name, **more,
    }  # fmt: skip
    warming.warm(sys.executable, str(folder), env, secrets, steps)
    return steps


def test_a_model_is_fetched_once_for_a_disk_and_in_one_format(hub: Hub, tmp_path: Path) -> None:
    heard = fetch(hub, tmp_path)
    assert heard.notes[0] == f"fetching model {NAME}"
    assert any(note.endswith("of 3 MB") for note in heard.notes)
    assert sorted(hub.fetched) == ["config.json", "model.safetensors"]
    there = list((tmp_path / "models").rglob("snapshots/*/model.safetensors"))
    assert [file.read_bytes() for file in there] == [FILES["model.safetensors"]]
    hub.models.clear()
    assert fetch(hub, tmp_path).notes == [f"fetching model {NAME}"]  # and asks nobody


@pytest.mark.parametrize(
    ("word", "env", "says"),
    [
        ("unknown", {}, "the hub has no such model, or it is private: set the secret HF_TOKEN"),
        ("private", {"HF_TOKEN": "hf_wrong"}, "no such model, or HF_TOKEN may not read it"),
        ("gated", {}, "its owner must allow it; set the secret HF_TOKEN"),
        ("large", {}, "the disk is full: .* MB are missing, and the disk has"),
    ],
)
def test_a_model_that_cannot_be_fetched_fails_with_the_reason(
    hub: Hub, tmp_path: Path, word: str, env: dict[str, str], says: str
) -> None:
    if word == "unknown":
        hub.models.clear()
    hub.private |= {NAME} if word == "private" else set()
    hub.gated |= {NAME} if word == "gated" else set()
    hub.sizes |= {"model.safetensors": 10**18} if word == "large" else {}
    with pytest.raises(Failed, match=f"the model {NAME} cannot be fetched: .*{says}"):
        fetch(hub, tmp_path, **env)
    assert not list((tmp_path / "fetched").glob("[0-9a-f]" * 16))


def test_a_secret_token_reads_a_private_model(hub: Hub, tmp_path: Path) -> None:
    hub.private.add(NAME)
    fetch(hub, tmp_path, HF_TOKEN=hub.token)
    assert "model.safetensors" in hub.fetched


def test_a_hub_that_hangs_is_cut_off_and_the_next_start_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.hang.set()
    with pytest.raises(Failed, match=r"not there after 4 s .* raise HANDLER_MODEL_SECONDS"):
        fetch(hub, tmp_path, HANDLER_MODEL_SECONDS="4")
    hub.hang.clear()
    hub.go_on.set()
    fetch(hub, tmp_path)
    assert list((tmp_path / "models").rglob("snapshots/*/model.safetensors"))


def test_a_hub_that_is_away_does_not_stop_a_pod_whose_disk_has_the_model(
    hub: Hub, tmp_path: Path
) -> None:
    fetch(hub, tmp_path)
    for file in (tmp_path / "fetched").iterdir():
        file.unlink()
    hub.models.clear()
    fetch(hub, tmp_path)


def test_nothing_is_fetched_where_no_model_of_the_hub_is_named(hub: Hub, tmp_path: Path) -> None:
    for name in ("", "large-v3-turbo", "/folder/model", str(tmp_path)):
        assert fetch(hub, tmp_path, name).notes == []
    env = {"HANDLER_MODEL": NAME, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url}
    warming.warm("/usr/bin/python3", str(tmp_path), env, {}, Heard())  # without the hub's library
    assert hub.fetched == []


def test_of_each_folder_one_format_of_the_weights_is_chosen() -> None:
    names = [
        "config.json", "model.safetensors", "pytorch_model.bin", "2_Dense/pytorch_model.bin",
        "onnx/model.onnx", "tf_model.h5", "openvino/openvino_model.bin", "original/params.pth",
    ]  # fmt: skip
    assert warming.chosen(names) == [
        "config.json",
        "model.safetensors",
        "2_Dense/pytorch_model.bin",
    ]
    assert warming.chosen(["model.bin", "config.json"]) == ["model.bin", "config.json"]
    assert warming.chosen(names, wanted=["onnx/*", "*.json"]) == ["config.json", "onnx/model.onnx"]
