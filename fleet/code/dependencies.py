"""Finds what a fleet's code needs: in the script itself, requirements.txt or pyproject.toml. Pure."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# The reference implementation's expression (PEP 723).
INLINE: Final = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
)
MOST: Final = 500
AGENT: Final = "podfleet-agent"
HASH: Final = re.compile(r"--hash=sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")


class BadCode(ValueError):
    """The code cannot work on a pod; the message says where and what would be right."""


def of_files(files: Mapping[str, bytes], *, script: str = "") -> list[str]:
    """The requirements of a script (by its name), or of a folder. The first source that exists counts.

    Raises:
        BadCode: they cannot be read.
    """
    if script:
        return _checked(_of_script(script, _text(script, files[script])), script)
    for name, read in (("requirements.txt", _of_lines), ("pyproject.toml", _of_project)):
        if name in files:
            return _checked(read(name, _text(name, files[name])), name)
    return []


def table_of(files: Mapping[str, bytes], *, script: str = "") -> tuple[str, Mapping[str, Any]]:
    """The block of a script, or the table `project` of a folder's pyproject.toml, and whose it is.

    Raises:
        BadCode: it cannot be read.
    """
    if script:
        return script, _block_of(script, _text(script, files[script]))
    name = "pyproject.toml"
    return name, _project_of(name, _text(name, files[name])) if name in files else {}


def _text(name: str, body: bytes) -> str:
    try:
        return body.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise BadCode(f"{name} is not text in UTF-8") from exc


def _of_script(name: str, text: str) -> Sequence[Any]:
    return _listed(name, _block_of(name, text))


def _block_of(name: str, text: str) -> dict[str, Any]:
    blocks = list(INLINE.finditer(text if text.endswith("\n") else f"{text}\n"))
    found = [m for m in blocks if m["type"] == "script"]
    if len(found) > 1:
        raise BadCode(f"{name} has {len(found)} blocks `# /// script`; leave one")
    if not found:
        if re.search(r"(?m)^# /// script\b", text):
            raise BadCode(f"{name}: the block `# /// script` does not end with a line `# ///`")
        return {}
    lines = found[0]["content"].splitlines()
    return _toml(name, "\n".join(x[2:] if x[:2] == "# " else x[1:] for x in lines))


def _of_project(name: str, text: str) -> Sequence[Any]:
    return _listed(name, _project_of(name, text))


def _project_of(name: str, text: str) -> dict[str, Any]:
    project = _toml(name, text).get("project", {})
    return project if isinstance(project, dict) else {}


def _toml(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadCode(f"{name}: its dependencies are not TOML: {exc}") from exc


def _listed(name: str, table: Mapping[str, Any]) -> Sequence[Any]:
    wants = table.get("dependencies", [])
    if not isinstance(wants, list):
        raise BadCode(f'{name}: dependencies is not a list; write dependencies = ["numpy>=2"]')
    return wants


def _of_lines(_name: str, text: str) -> Sequence[Any]:
    lines = re.sub(r"\\\n", " ", text).splitlines()
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in bare if line]


def _checked(wants: Sequence[Any], name: str) -> list[str]:
    if len(wants) > MOST:
        raise BadCode(f"{name} has {len(wants)} requirements; at most {MOST} are installed")
    found = [_one(want, name) for want in wants]
    bare = [want for want in found if "--hash" not in want and not _is_own(want)]
    if bare and any("--hash" in want for want in found):
        raise BadCode(
            f"{name}: {bare[0]!r} has no --hash, and others have one; pip wants all or none"
        )
    return found


def _is_own(want: str) -> bool:
    """Whether this is the agent's own wheel. The manager sends it, so it needs no hash."""
    return canonicalize_name(Requirement(want).name) == AGENT


def _without_hashes(want: str, name: str) -> tuple[str, list[str]]:
    """A line of requirements.txt without its hashes, and these.

    Raises:
        BadCode: a hash is damaged, or stands where pip does not read it.
    """
    bare, *hashes = re.split(r"\s+(?=--hash\b)", want)
    if hashes and not name.endswith(".txt"):
        raise BadCode(f"{name}: {want!r} has a --hash; only requirements.txt may have hashes")
    for found in hashes:
        if not HASH.fullmatch(found):
            raise BadCode(f"{name}: {found!r} is not a hash such as --hash=sha256:… of 64 digits")
    return bare, hashes


def _one(want: Any, name: str) -> str:
    if not isinstance(want, str):
        raise BadCode(f'{name}: {want!r} is not a requirement; write "numpy>=2"')
    want, hashes = _without_hashes(want, name)
    if want.startswith("-") or " --" in want:
        raise BadCode(
            f"{name}: {want.split()[0]!r} is an option of pip; name packages alone. The index is "
            "PIP_INDEX_URL or PIP_FIND_LINKS in handler_env, or a secret of that name"
        )
    try:
        parsed = Requirement(want)
    except InvalidRequirement as exc:
        why = str(exc).partition("\n")[0]
        raise BadCode(f'{name}: {want!r} is not a requirement such as "numpy>=2": {why}') from exc
    if parsed.url and parsed.url.startswith("file:"):
        raise BadCode(f"{name}: {want!r} is a file of this machine, which no pod has")
    return " ".join([str(parsed), *hashes])
