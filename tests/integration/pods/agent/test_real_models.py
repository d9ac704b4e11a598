"""The ready handlers with real models, which the environment of `make bench NAME=handlers` has."""

import json
import subprocess
import wave

import numpy as np
import pytest

from config.env import ROOT
from tests.support.programs import FOLDER

PEERS = ROOT / ".venv-peers-handlers"
PROGRAM = FOLDER / "embed_for_real.py"
pytestmark = pytest.mark.slow


@pytest.fixture
def said(tmp_path):
    if not (PEERS / ".made").exists():
        pytest.skip("no real models: `make bench NAME=handlers` makes .venv-peers-handlers")

    def run(what):
        command = [str(PEERS / "bin/python"), str(PROGRAM), str(ROOT), str(tmp_path), what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.takes(40)
def test_both_handlers_and_the_library_give_the_same_vectors(said):
    """In calls of other sizes, and on two devices."""
    found = said("embeddings")
    *torch, missing = found["torch"]
    assert "has no field payload; it has x" in missing["error"]
    library = np.array(found["library"])
    assert library.shape == (40, 384)
    for outcomes in (torch, found["two"], found["onnx"]):
        vectors = np.array([outcome["embedding"] for outcome in outcomes])
        assert np.abs(vectors - library).max() < 1e-3


@pytest.mark.takes(30)
def test_an_onnx_file_that_ignores_its_attention_mask_is_refused(said):
    assert "does not use its attention mask" in said("wrong")["refused"]


@pytest.mark.takes(15)
def test_a_recording_is_heard_and_what_is_not_one_is_a_dead_letter(said, tmp_path):
    with wave.open(str(tmp_path / "recording.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        hum = 3_000 * np.sin(2 * np.pi * 220 * np.arange(32_000) / 16_000)
        file.writeframes(hum.astype("<i2").tobytes())
    heard, broken, missing = said("speech")["heard"]
    assert heard["duration"] == 2.0
    assert heard["language"] == "en"
    assert isinstance(heard["text"], str)
    assert broken["error"].startswith("BadItem: the audio cannot be read")
    assert "has no field audio; it has text" in missing["error"]


@pytest.mark.takes(15)
def test_images_have_the_vectors_of_the_library_and_others_are_dead_letters(said):
    outcomes = said("images")
    red, blue, broken, missing = outcomes["found"]
    assert np.abs(np.array(red["embedding"]) - outcomes["library"][0]).max() < 1e-3
    assert red != blue
    assert broken["error"] == "BadItem: the image cannot be read: its format is not known"
    assert "has no field image; it has text" in missing["error"]
