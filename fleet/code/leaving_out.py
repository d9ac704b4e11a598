"""Which files of a folder or an archive are not sent to pods. Names alone decide. No rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Final, Self

from fleet.code.dependencies import BadCode

IGNORE_FILE: Final = ".podfleetignore"
MOST_LINES: Final = 1_000
SHOWN: Final = 20  # names that people are shown; the JSON has all
SECRET_FOLDERS: Final = (
    *(".ssh", ".aws", ".gnupg", ".docker", ".kube", ".azure", ".gcloud", "secrets", ".secrets"),
    *(".password-store", ".terraform"),
)
# Folders that are never code: of version control, of tools and of environments.
FOLDERS: Final = (
    *(".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", ".tox", ".nox"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".cache", ".ipynb_checkpoints", ".idea"),
    *(".vscode", ".podfleet", "*.egg-info", "__macosx", *SECRET_FOLDERS),
)
# Files that look like secrets, and files that Python or a desktop makes.
FILES: Final = (
    *(".env", ".env.*", "*.env", ".envrc", ".envrc.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("*.keystore", "*.ppk", "*.asc", "*.gpg", "*.kdb", "*.kdbx", "*.ovpn", "*.agekey"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pypirc", ".npmrc"),
    *(".htpasswd", ".pgpass", ".my.cnf", ".git-credentials", ".dockercfg", ".dockerconfigjson"),
    *(".vault-token", ".boto", ".s3cfg", "rclone.conf", "kubeconfig", "kubeconfig.*"),
    *("*.kubeconfig", "*.tfvars", "*.tfvars.json", "*.tfstate", "*.tfstate.*"),
    *("credentials", "credentials.*", "secret.txt", "secret.json", "secrets", "secrets.*"),
    *("token", "*token*.txt", "password*.txt", "*service-account*.json"),
    *("*service_account*.json", "application_default_credentials.json"),
    *("*.pyc", ".ds_store", "._*", IGNORE_FILE),
)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name, in any case, is one of these."""
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def never_sent(file: PurePath) -> bool:
    """Whether a file is left out for its name, or for the name of a folder of its path."""
    return in_such_folder(file) or matches(file.name, FILES)


def in_such_folder(file: PurePath) -> bool:
    """Whether a folder of the path is left out for its name."""
    return any(matches(name, FOLDERS) for name in file.parts[:-1])


@dataclass(frozen=True, slots=True)
class Line:
    """A line of `.podfleetignore`."""

    pattern: str
    keeps: bool  # it began with !
    folder: bool  # it ended with /
    anchored: bool  # it has a / elsewhere: the whole path is compared, else the last name

    def fits(self, path: PurePath, *, folder: bool) -> bool:
        """Whether it speaks of this path, relative to the root."""
        text = path.as_posix() if self.anchored else path.name
        return (folder or not self.folder) and fnmatch(text, self.pattern)


@dataclass(frozen=True, slots=True)
class Ignore:
    """What a user's file says. The last line that fits a path decides."""

    lines: Sequence[Line] = ()

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Read a file `.podfleetignore`.

        Raises:
            BadCode: a line cannot be read as one pattern; the message says which.
        """
        try:
            texts = body.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as exc:
            raise BadCode(f"{IGNORE_FILE} is not text in UTF-8; save it as UTF-8") from exc
        if len(texts) > MOST_LINES:
            raise BadCode(
                f"{IGNORE_FILE} has {len(texts):,} lines; at most {MOST_LINES:,} are read"
            )
        found = (_line(number, text.strip()) for number, text in enumerate(texts, start=1))
        return cls([line for line in found if line])

    def leaves_out(self, path: PurePath, *, folder: bool = False) -> bool | None:
        """Whether a path is left out; None: no line speaks of it."""
        for line in reversed(self.lines):
            if line.fits(path, folder=folder):
                return not line.keeps
        return None

    def leaves_out_file(self, file: PurePath) -> bool:
        """Whether a file is left out, for its own name or path or for those of its folders."""
        above = list(file.parents)[:-1]
        if any(self.leaves_out(at, folder=True) for at in above):
            return True
        own = self.leaves_out(file)
        return matches(file.name, FILES) if own is None else own


def _line(number: int, text: str) -> Line | None:
    if not text or text.startswith("#"):
        return None
    keeps, pattern = text.startswith("!"), text.removeprefix("!")
    folder, bare = pattern.endswith("/"), pattern.strip("/")
    if not bare or "**" in bare or "\\" in bare or ".." in bare.split("/"):
        raise BadCode(
            f"{IGNORE_FILE}, line {number}: {text!r} is not understood; write a name such as "
            "notes.txt or *.csv, a folder such as data/, or a path such as config/local.yaml "
            "(* also stands for /, so ** is not needed)"
        )
    anchored = "/" in pattern.removesuffix("/")
    return Line(bare.removeprefix("./"), keeps=keeps, folder=folder, anchored=anchored)


def named(paths: Sequence[str]) -> str:
    """What was left out, for people: the names, or the first of them and how many more."""
    more = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
