"""What happens on a machine before its agent runs: the start command, the steps, the installer."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pods.accounts.start_command import LONGEST, SOURCE, short, start_command
from pods.agent import bootstrap, trying
from pods.agent.bootstrap import Steps
from pods.agent.start import Failed


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def test_the_start_command_fits_every_vendor_and_survives_a_shell() -> None:
    words = start_command()
    assert sum(map(len, words)) < LONGEST
    assert not set("".join(words)) & set("$`{}\"'\n\\")
    command = [sys.executable, *words[1:]]
    said = subprocess.run(command, check=False, capture_output=True, text=True, env={})
    assert "KeyError: 'PODFLEET_FLEET'" in said.stderr


def test_the_start_command_is_the_file_without_its_texts() -> None:
    made: dict[str, Any] = {"__name__": "somewhere"}
    exec(short(SOURCE.read_text()), made)
    assert {"Redis", "fetch", "main"} <= made.keys()
    assert made["Redis"].__doc__ is None


@pytest.mark.parametrize(
    "printed", ["Installing collected packages: a, b, c", "Resolved 3 packages in 1ms"]
)
def test_the_number_of_installed_packages_is_known_while_they_are_installed(
    tmp_path: Path, printed: str
) -> None:
    steps = Steps()
    steps.site = str(tmp_path)
    bootstrap.run(python(f"print({printed!r})"), {}, steps)
    (tmp_path / "a-1.dist-info").mkdir()
    assert steps.present() == "installing 1 of 3 packages"
    steps.say("starting the agent")
    assert steps.present() == "starting the agent"


def test_a_failed_step_says_its_errors_without_passwords() -> None:
    program = "print('Collecting a');print('ERROR: no x at https://me:word@index/simple');exit(3)"
    steps = Steps()
    with pytest.raises(Failed) as caught:
        bootstrap.run(python(program), {}, steps)
    assert str(caught.value) == (
        "the environment cannot be built: ERROR: no x at https://***@index/simple"
    )
    assert steps.note == "collecting packages: a"


def test_without_an_error_line_the_last_lines_are_said() -> None:
    with pytest.raises(Failed, match=r"3 \| 4 \| 5$"):
        bootstrap.run(python("print('1\\n2\\n3\\n4\\n5');exit(1)"), {}, Steps())


def test_the_index_is_the_fleets_own_for_pip_and_for_uv() -> None:
    found = bootstrap.for_installer(
        {"PIP_INDEX_URL": "https://a/simple", "HOME": "/h"},
        {
            "PIP_EXTRA_INDEX_URL": "https://b/simple",
            "UV_INDEX": "https://c/simple",
            "HF_TOKEN": "t",
        },
    )
    assert found["UV_DEFAULT_INDEX"] == "https://a/simple"
    assert found["UV_INDEX"] == "https://c/simple"
    assert "HF_TOKEN" not in found


def test_packages_of_the_image_are_used_by_pip_which_sees_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = Steps()
    steps.site = str(tmp_path)
    uv = tmp_path / "uv"
    uv.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    rich = bootstrap.installer("/e/bin/python", 3, {}, steps, inherits=True)
    assert rich[:3] == ["/e/bin/python", "-m", "pip"]
    alone = bootstrap.installer("/e/bin/python", 3, {}, steps, inherits=False)
    assert alone == [str(uv), "pip", "install", "--python", "/e/bin/python"]


def test_models_are_kept_beside_the_code_unless_there_is_a_place_for_them(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    assert bootstrap.with_models_kept(env, "/volume")["HF_HOME"] == "/volume/models"
    assert bootstrap.with_models_kept({"HF_HOME": "/mine"}, "/volume") == {"HF_HOME": "/mine"}
    (tmp_path / "huggingface").mkdir()
    assert bootstrap.with_models_kept(env, "/volume") == env


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.py", "x = 1")
    code = bootstrap.unpacked(str(tmp_path / "c"))
    (Path(code) / "b.py").touch()
    assert bootstrap.unpacked(str(tmp_path / "c")) == code
    assert sorted(p.name for p in Path(code).iterdir()) == ["a.py", "b.py"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.zip"]


def test_batches_of_each_size_are_tried() -> None:
    assert trying.sizes_up_to(64) == [1, 4, 16, 64]
    assert trying.sizes_up_to(5) == [1, 4, 5]
    assert trying.sizes_up_to(1) == [1]
    assert trying.sizes_up_to(0) == []


@pytest.mark.parametrize(
    ("wants", "extras", "agent", "others"),
    [
        (["numpy>=2"], [], "podfleet-agent @ file:///w.whl", ["numpy>=2"]),
        (["podfleet-agent[onnx]"], [], "podfleet-agent[onnx] @ file:///w.whl", []),
        (
            ["a", "podfleet-agent[onnx, clip]>=0.1"],
            ["datasets"],
            "podfleet-agent[clip,datasets,onnx] @ file:///w.whl",
            ["a"],
        ),
        (["podfleet-agent"], [], "podfleet-agent @ file:///w.whl", []),
        (["podfleet-agent-more"], [], "podfleet-agent @ file:///w.whl", ["podfleet-agent-more"]),
    ],
)
def test_a_requirement_of_the_agents_wheel_adds_its_extras(
    wants: list[str], extras: list[str], agent: str, others: list[str]
) -> None:
    assert bootstrap.of_wheel(wants, "/w.whl", extras) == (agent, others)
