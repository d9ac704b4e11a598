"""What the import of code shows before a fleet gets it: only its own faults are refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from fleet.code import importing, packing
from fleet.code.packing import Packed
from fleet.models import Fleet
from tests.support.fleet_command import run

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
HANDLER = "def handle(batch):\n    return batch\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"


def packed(**files: str) -> Packed:
    bodies = {f"{name.replace('__', '/')}.py": text.encode() for name, text in files.items()}
    return packing.packed_of(bodies, "embed:handle", source="code")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"embed": f"from work import nosuch\n{HANDLER}", "work": ""},
            "cannot import a file of its own",
        ),
        ({"embed": f"import work.nosuch\n{HANDLER}", "work____init__": ""}, "a file of its own"),
        ({"embed": "from work import *\n", "work": ""}, "has no embed:handle"),
        ({"embed": f"exec('x = (')\n{HANDLER}"}, "SyntaxError"),
    ],
)
def test_what_is_wrong_on_every_machine_is_refused(files: dict[str, str], says: str) -> None:
    assert says in importing.import_code(packed(**files), {}).wrong


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("", "imported here: embed:handle is there"),
        (
            "import module_of_nobody",
            "the module module_of_nobody is not in its environment; add its",
        ),
        (
            "import os\nos.environ['DB_PASSWORD']",
            "KeyError: 'DB_PASSWORD'. Secrets and a GPU may be",
        ),
        ("import os\nos._exit(7)", "at import it ended the process with 7"),
        ("raise SystemExit(3)", "it ends the process at import"),
        ("import time\ntime.sleep(60)", "it did not end within 5 s"),
        ("import os\nassert os.environ['WORD'] == 'a'", "imported here"),
    ],
)
def test_what_may_be_right_on_a_pod_is_said_and_not_refused(first: str, says: str) -> None:
    found = importing.import_code(packed(embed=f"{first}\n{HANDLER}"), {"WORD": "a"}, seconds=5)
    assert (found.wrong, says in found.said) == ("", True), found.said


def test_requirements_that_are_not_installed_here_are_not_installed_for_it() -> None:
    text = f'# /// script\n# dependencies = ["nosuchpkg"]\n# ///\nimport nosuchpkg\n{HANDLER}'
    alone = packing.packed_of(
        {"embed.py": text.encode()}, "embed:handle", source="x", script="embed.py"
    )
    found = importing.import_code(alone, {})
    assert "nosuchpkg is not in the Python of the manager; `fleet check` installs" in found.said


def test_create_and_set_say_what_the_import_showed_and_refuse_before_anything_is_made(
    redis_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "embed.py").write_text(f"from work import nosuch\n{HANDLER}")
    (folder / "work.py").write_text("")
    words = ("--script", folder, "--handler", "embed:handle")
    with pytest.raises(CommandError, match=r"a file of its own: .*nothing was changed"):
        run("create", "emb", *words, "--stream", "emb", "--group", "emb")
    assert not Fleet.objects.exists()
    (folder / "work.py").write_text("nosuch = 1\n")
    said = run("create", "emb", *words, "--stream", "emb", "--group", "emb")
    assert "imported here: embed:handle is there" in said
    (folder / "work.py").write_text("")
    with pytest.raises(CommandError, match="a file of its own"):
        run("set", "emb", *words)
    assert Fleet.objects.get().code_number == 1
    with zipfile.ZipFile(io.BytesIO(bytes(Fleet.objects.get().codes.get().archive))) as archive:
        assert archive.read("work.py") == b"nosuch = 1\n"
