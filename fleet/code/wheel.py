"""Builds the agent's wheel from the files beside the manager, the same bytes each time. No rows."""

import base64
import hashlib
import io
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pods
from fleet.code.packing import EPOCH

AGENT: Final = Path(pods.__file__).parent / "agent"
FILES: Final = ("*.py", "*.lua", "py.typed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """The agent's wheel."""

    name: str
    digest: str  # SHA-256
    body: bytes


@cache
def agent_wheel() -> Wheel:
    """The wheel of the agent of this version. It is built once in a process."""
    project = tomllib.loads((AGENT / "pyproject.toml").read_text())["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    files = _sources()
    about = f"{stem}.dist-info"
    files[f"{about}/METADATA"] = _metadata(project)
    files[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: podfleet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{about}/entry_points.txt"] = b"[console_scripts]\n" + b"".join(
        f"{name} = {where}\n".encode() for name, where in project["scripts"].items()
    )
    record = [_recorded(name, body) for name, body in sorted(files.items())]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""]).encode()
    body = _zip(files)
    return Wheel(
        name=f"{stem}-py3-none-any.whl", digest=hashlib.sha256(body).hexdigest(), body=body
    )


def _sources() -> dict[str, bytes]:
    found = (path for pattern in FILES for path in AGENT.rglob(pattern))
    return {f"pods/agent/{path.relative_to(AGENT).as_posix()}": path.read_bytes() for path in found}


def _metadata(project: dict[str, Any]) -> bytes:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {want}" for want in project["dependencies"]),
    ]
    for extra, wants in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {want} ; extra == "{extra}"' for want in wants]
    return "\n".join([*lines, ""]).encode()


def _recorded(name: str, body: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(body)}"


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        # Python before 3.13 imports a package without __init__.py from a zip by its folder's entry.
        for name in ("pods/", *sorted(files)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, files.get(name, b""))
    return made.getvalue()
