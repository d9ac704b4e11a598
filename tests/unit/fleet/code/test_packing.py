"""What is packed of a script or a folder, what is left out, and what is refused without running it."""

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest

from fleet.code import leaving_out, packing
from fleet.code.dependencies import BadCode
from fleet.code.packing import BUNDLE, Packed, pack
from pods.agent import bootstrap

HANDLER = "def handle(batch):\n    return [1 for _ in batch]\n"
BOTH = HANDLER + "other = handle\n"


def script(folder: Path, text: str = HANDLER, name: str = "embed.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def names(packed: Packed) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(packed.archive)).namelist()


def bundle(packed: Packed) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(
        zipfile.ZipFile(io.BytesIO(packed.archive)).read(BUNDLE)
    )
    return found


def test_the_same_code_has_the_same_digest_at_any_time_and_place(tmp_path: Path) -> None:
    first = pack(script(tmp_path / "a"))
    again = script(tmp_path / "b")
    again.touch()
    again.chmod(0o700)
    assert pack(again) == first
    assert pack(script(tmp_path / "a", HANDLER + "\n")).digest != first.digest


def test_another_handler_of_the_same_files_is_other_code(tmp_path: Path) -> None:
    file = script(tmp_path, BOTH)
    assert pack(file).digest != pack(file, "embed:other").digest


def test_a_script_brings_its_handler_and_its_inline_requirements(tmp_path: Path) -> None:
    inline = '# /// script\n# dependencies = [\n#   "numpy>=2",\n#   "six",\n# ]\n# ///\n'
    packed = pack(script(tmp_path, inline + HANDLER))
    assert packed.handler == "embed:handle"
    assert packed.requirements == ["numpy>=2", "six"]
    about = {"requirements": ["numpy>=2", "six"], "paths": ["."], "handler": "embed:handle"}
    assert bundle(packed) == about
    assert names(packed) == [BUNDLE, "embed.py"]


def test_secrets_caches_and_environments_of_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    script(tmp_path, name="src/work/main.py")
    for name in (".git/config", ".env", ".env.local", "deploy.pem", "id_rsa", "credentials.json"):
        script(tmp_path, "x", name)
    for name in ("__pycache__/a.pyc", "node_modules/a.js", "my-env/pyvenv.cfg", "my-env/lib/a.py"):
        script(tmp_path, "x", name)
    script(tmp_path, "six\n# a comment\nnumpy >= 2  # why\n", "requirements.txt")
    packed = pack(tmp_path, "work.main:handle")
    assert names(packed) == [BUNDLE, "requirements.txt", "src/work/main.py"]
    assert bundle(packed)["requirements"] == ["six", "numpy>=2"]
    assert bundle(packed)["paths"] == ["src", "."]
    assert set(packed.left_out) == {
        ".git/", ".env", ".env.local", "deploy.pem", "id_rsa", "credentials.json", "__pycache__/",
        "node_modules/", "my-env/",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        ".envrc", "kubeconfig", "token.txt", "hf_token.txt", "secrets/db.txt", "a/.secrets/x",
        ".docker/config.json", ".kube/config", ".git-credentials", "prod.tfvars", "safe.kdbx",
    ],
)  # fmt: skip
def test_a_file_whose_name_looks_like_a_secret_is_not_sent(tmp_path: Path, name: str) -> None:
    script(tmp_path)
    script(tmp_path, "x", name)
    packed = pack(tmp_path, "embed:handle")
    assert names(packed) == [BUNDLE, "embed.py"]
    assert len(packed.left_out) == 1


IGNORE = "\ufeff# what is large\n\ndata/\n*.csv\nconf/local.yaml\n!keep.csv\n!tokens.txt\nlogs\n"


def test_a_file_podfleetignore_leaves_out_more_and_brings_back(tmp_path: Path) -> None:
    script(tmp_path)
    script(tmp_path, IGNORE, ".podfleetignore")
    for name in ("data/a.py", "x.csv", "deep/y.csv", "keep.csv", "conf/local.yaml", "logs/a.txt",
                 "tokens.txt", "token.txt", "deep/conf/local.yaml"):  # fmt: skip
        script(tmp_path, "x = 1", name)
    packed = pack(tmp_path, "embed:handle")
    kept = ["deep/conf/local.yaml", "embed.py", "keep.csv", "tokens.txt"]
    assert names(packed) == [BUNDLE, *kept]
    assert {*packed.left_out} == {
        ".podfleetignore", "data/", "x.csv", "deep/y.csv", "conf/local.yaml", "logs/", "token.txt",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["**/a", "/", "!", "a\\b", "../x"])
def test_a_line_of_podfleetignore_that_is_not_understood_is_refused(
    tmp_path: Path, line: str
) -> None:
    script(tmp_path)
    script(tmp_path, f"fine\n{line}\n", ".podfleetignore")
    with pytest.raises(
        BadCode, match=r"podfleetignore, line 2: .* is not understood; write a name"
    ):
        pack(tmp_path, "embed:handle")


def test_people_are_told_up_to_twenty_names_of_what_was_left_out() -> None:
    paths = [f"{n}.pem" for n in range(21)]
    assert leaving_out.named(paths[:20]).endswith(", 19.pem")
    assert leaving_out.named(paths).endswith(", 19.pem and 1 more")


def test_a_link_out_of_the_folder_to_nothing_is_left_out(tmp_path: Path) -> None:
    script(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert pack(tmp_path, "embed:handle").left_out == ["gone"]


def test_links_out_of_the_folder_and_to_secrets_are_left_out_and_named(tmp_path: Path) -> None:
    root = tmp_path / "work"
    script(root)
    for name in ("outside/credentials", "work/.env", "work/.git/config", "work/env/pyvenv.cfg"):
        script(tmp_path, "secret", name)
    links = {
        "creds.txt": "../outside/credentials", "a.txt": ".env", "b.txt": ".git/config",
        "c.txt": "env/pyvenv.cfg", "same.py": "embed.py", "deploy.pem": "embed.py",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    packed = pack(root, "embed:handle")
    assert names(packed) == [BUNDLE, "embed.py", "same.py"]
    left_out = {".env", ".git/", "env/", "creds.txt", "a.txt", "b.txt", "c.txt", "deploy.pem"}
    assert set(packed.left_out) == left_out


def test_a_script_may_be_a_link_but_not_to_a_secret(tmp_path: Path) -> None:
    (tmp_path / "job.py").symlink_to(script(tmp_path / "elsewhere"))
    assert pack(tmp_path / "job.py").handler == "job:handle"
    for number, name in enumerate(("credentials", ".aws/config")):
        (tmp_path / f"bad{number}.py").symlink_to(script(tmp_path, HANDLER, name))
        with pytest.raises(BadCode, match=r"is a link to .* never sent"):
            pack(tmp_path / f"bad{number}.py")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("my-script.py", "my_script.py"), ("my script.py", "my_script.py"), ("1st.py", "_1st.py"),
        ("class.py", "class_.py"), ("__main__.py", "main.py"), ("my.script.py", "my_script.py"),
        ("émile.py", "_émile.py"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_imported_is_refused_with_a_right_one(
    tmp_path: Path, name: str, right: str
) -> None:
    says = f"^{re.escape(name)} cannot be imported under this name; rename it to {right}$"
    with pytest.raises(BadCode, match=says):
        pack(script(tmp_path, HANDLER, name))
    pack(script(tmp_path, HANDLER, right))


def test_the_folders_of_a_handlers_module_need_such_names_too(tmp_path: Path) -> None:
    script(tmp_path, HANDLER, "my-work/main.py")
    script(tmp_path, HANDLER, "work/my-main.py")
    script(tmp_path, HANDLER, "work/__main__.py")
    with pytest.raises(BadCode, match=r"^my-work cannot be .* rename it to my_work$"):
        pack(tmp_path, "my-work.main:handle")
    with pytest.raises(BadCode, match=r"^my-main\.py cannot be .* rename it to my_main\.py$"):
        pack(tmp_path, "work.my-main:handle")
    pack(tmp_path, "work.__main__:handle")


@pytest.mark.parametrize("name", ["json.py", "src/queue.py", "types/__init__.py"])
def test_a_module_that_hides_one_of_python_is_refused(tmp_path: Path, name: str) -> None:
    script(tmp_path)
    script(tmp_path, "", "work/json.py")  # is work.json
    script(tmp_path, "", "code/a.py")  # hides nothing without __init__.py
    pack(tmp_path, "embed:handle")
    script(tmp_path, "", name)
    with pytest.raises(BadCode, match=f"{name} would hide the module .* of Python; rename it"):
        pack(tmp_path, "embed:handle")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def handle(batch:\n", "embed.py, line 1"),
        ("def other(batch): pass\n", "has no handle, .*it has other"),
        ("# /// script\n# dependencies = ['a b']\n# ///\n" + HANDLER, "'a b' is not a requirement"),
        ("# /// script\n# dependencies = 'a'\n# ///\n" + HANDLER, "dependencies is not a list"),
        ("# /// script\n# dependencies = [\n# ///\n" + HANDLER, "are not TOML"),
        ("# /// script\n# dependencies = []\n" + HANDLER, "does not end with a line"),
        (
            "# /// script\n# dependencies = ['x @ file:///a.whl']\n# ///\n" + HANDLER,
            "a file of this",
        ),
        ("# /// script\n# dependencies = ['--index-url x']\n# ///\n" + HANDLER, "PIP_INDEX_URL"),
        ("\0", "embed.py"),
    ],
)
def test_code_that_cannot_work_is_refused_with_the_reason(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(BadCode, match=says):
        pack(script(tmp_path, text))


def test_nothing_of_the_code_runs_while_it_is_packed(tmp_path: Path) -> None:
    trap = f"import sys\nsys.exit(1)\nopen({str(tmp_path / 'ran')!r}, 'w')\n"
    pack(script(tmp_path, trap + HANDLER))
    assert not (tmp_path / "ran").exists()
    assert "embed" not in sys.modules


def test_what_is_too_large_or_is_not_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadCode, match="does not exist"):
        pack(tmp_path / "nothing.py")
    with pytest.raises(BadCode, match="not a Python script"):
        pack(script(tmp_path, "x", "notes.txt"))
    with pytest.raises(BadCode, match="say what to call with"):
        pack(tmp_path)
    script(tmp_path / "hides", name="redis.py")
    with pytest.raises(BadCode, match="would hide the package redis"):
        pack(tmp_path / "hides", "redis:handle")
    monkeypatch.setattr(packing, "LARGEST_BYTES", 100)
    with pytest.raises(BadCode, match=r"at most .* MB are sent to pods"):
        pack(script(tmp_path, HANDLER))


@pytest.mark.parametrize(
    "text",
    [
        "class handle: pass", "async def handle(batch): pass", "handle = print", "from x import *",
        "import x as handle", "from x import handle", "(handle, other) = 1, 2",
        "try:\n    from x import handle\nexcept ImportError:\n    handle = None",
        "if True:\n    def handle(batch): pass",
    ],
)  # fmt: skip
def test_a_handler_may_get_its_name_in_any_way(tmp_path: Path, text: str) -> None:
    assert pack(script(tmp_path, text)).handler == "embed:handle"


def test_a_folder_takes_its_requirements_from_its_project(tmp_path: Path) -> None:
    script(tmp_path, '[project]\nname = "x"\ndependencies = ["six"]\n', "pyproject.toml")
    script(tmp_path, "from .other import handle\n", "work/__init__.py")
    assert pack(tmp_path, "work:handle").requirements == ["six"]
    with pytest.raises(BadCode, match=r"no module nothing among work/__init__\.py"):
        pack(tmp_path, "nothing:handle")


HASH = f"--hash=sha256:{'c' * 64}"
PINNED = f"six==1.17.0 --hash=sha256:{'a' * 64} --hash=sha512:{'b' * 128}"


def test_a_file_of_requirements_may_have_hashes_and_markers(tmp_path: Path) -> None:
    text = PINNED.replace(" --", " \\\n    --") + f"\nrich==15 ; python_version > '3.10' {HASH}\n"
    script(tmp_path, text, "requirements.txt")
    script(tmp_path, HANDLER, "main.py")
    assert pack(tmp_path, "main:handle").requirements == [
        PINNED,
        f'rich==15; python_version > "3.10" {HASH}',
    ]


@pytest.mark.parametrize("own", ["podfleet-agent[onnx]", "Podfleet_Agent[onnx]>=0.1"])
def test_the_agents_own_wheel_needs_no_hash_beside_others(tmp_path: Path, own: str) -> None:
    script(tmp_path, f"{PINNED}\n{own}\n", "requirements.txt")
    script(tmp_path, HANDLER, "main.py")
    wants = pack(tmp_path, "main:handle").requirements
    assert wants[0] == PINNED
    agent = "podfleet-agent[onnx] @ file:///w.whl"
    assert bootstrap.of_wheel(wants, "/w.whl", []) == (agent, [PINNED])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{PINNED}\npodfleet-agent\nrich==15", "'rich==15' has no --hash, and others have one"),
        (f"{PINNED}\npodfleet-agent-more==1", "'podfleet-agent-more==1' has no --hash, and"),
        (f"{PINNED}\nrich==15", "'rich==15' has no --hash, and others have one"),
        ("six==1 --hash=sha256:abc", "'--hash=sha256:abc' is not a hash"),
        ("six==1 --hash=md5:" + "a" * 32, "is not a hash such as --hash=sha256"),
        ("-r more.txt", "'-r' is an option of pip"),
        ("six==1 --no-binary six", "is an option of pip"),
    ],
)
def test_a_damaged_hash_or_another_option_is_refused(tmp_path: Path, text: str, why: str) -> None:
    script(tmp_path, text, "requirements.txt")
    script(tmp_path, HANDLER, "main.py")
    with pytest.raises(BadCode) as caught:
        pack(tmp_path, "main:handle")
    assert why in str(caught.value)


def test_inline_requirements_have_no_hashes(tmp_path: Path) -> None:
    inline = f'# /// script\n# dependencies = ["six==1 {HASH}"]\n# ///\n'
    with pytest.raises(BadCode, match=r"only requirements\.txt may have hashes"):
        pack(script(tmp_path, inline + HANDLER))
