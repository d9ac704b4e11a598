"""The provider `local`: a machine is a folder, its agent a process group found by its token."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

from pods.providers.base import Capabilities, Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.errors import NoCapacity, NotFound, Refused, Unavailable
from pods.providers.local import processes

CHECKOUT: Final = Path(__file__).resolve().parents[3]
OPTIONS: Final = frozenset({"root", "hourly_usd", "capacity", "python", "python_path"})
TOKEN: Final = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]{0,63}")
ID_PREFIX: Final = "local-"
# What of the manager's environment a pod gets: never its secrets, never the mark of the stack.
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "OPENBLAS_CORETYPE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A machine as its folder keeps it."""

    token: str
    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    created_at: str
    stopped: bool = False


class LocalProvider:
    """Stateless but for the folder `root`, which is this provider's side of the matter."""

    name = "local"
    capabilities = Capabilities(can_stop=True, idempotent_create=True)

    def __init__(
        self,
        root: Path,
        *,
        hourly_usd: Decimal = Decimal(0),
        capacity: int | None = None,
        python: str = sys.executable,
        python_path: str = "",
    ) -> None:
        """`hourly_usd`: a nominal price, USD/hour; `capacity`: machines at most; `python_path`: where
        users' handlers are.
        """
        self.root, self.hourly_usd, self.capacity = root, hourly_usd, capacity
        self.python, self.python_path = python, python_path

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """One offer; none where the query asks for a GPU or less money."""
        cheap = query.max_hourly_usd is None or self.hourly_usd <= query.max_hourly_usd
        if query.gpu_types or query.min_vram_gb or not cheap:
            return ()
        return (Offer(key="local", hourly_usd=self.hourly_usd),)

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Start the agent; a second create with the token, at any time, gives the same machine."""
        folder = self._folder(token)
        if self.capacity is not None and not folder.exists() and self._count() >= self.capacity:
            raise NoCapacity(f"{self.capacity} machines are the capacity of this account")
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            return self._finished(folder, spec, token)
        except OSError as exc:
            raise Unavailable(f"{folder}: {exc.strerror}") from exc
        return self._finished(folder, spec, token)

    def _finished(self, folder: Path, spec: PodSpec, token: str) -> Machine:
        """Do what is left to do of a creation: whoever began it may have died anywhere."""
        if not (folder / "machine.json").exists():
            recorded = Recorded(
                token=token,
                name=spec.name,
                command=list(spec.command) or [self.python, "-m", "pods.agent"],
                env=dict(spec.env),
                created_at=datetime.now(UTC).isoformat(),
            )
            _write(folder, recorded)
        try:
            # One starts it; who finds `started` there leaves that to him.
            (folder / "started").mkdir()
        except FileExistsError:
            return self._machine(folder)
        self._run(folder, self._recorded(folder))
        return self._machine(folder)

    def _run(self, folder: Path, recorded: Recorded) -> None:
        path = os.pathsep.join(p for p in (str(CHECKOUT), self.python_path) if p)
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **recorded.env}
        env[processes.TOKEN] = recorded.token
        try:
            processes.start(folder, recorded.command, env, cwd=CHECKOUT)
        except (OSError, SubprocessError) as exc:
            raise Unavailable(f"the process did not start: {exc}") from exc

    def status(self, external_id: str) -> Machine:
        """The machine as its folder and its processes tell."""
        return self._machine(self._known(external_id))

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every machine whose name begins with the tag."""
        try:
            folders = sorted(f for f in self.root.iterdir() if f.is_dir())
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise Unavailable(f"{self.root}: {exc.strerror}") from exc
        machines = []
        for folder in folders:
            try:
                machine = self._machine(folder)
            except NotFound:  # destroyed, or begun and not yet written down, as we looked
                continue
            if machine.name.startswith(f"{tag}-"):
                machines.append(machine)
        return machines

    def stop(self, external_id: str) -> None:
        """End every process and keep the folder."""
        folder = self._known(external_id)
        recorded = self._recorded(folder)
        _write(folder, Recorded(**{**asdict(recorded), "stopped": True}))
        processes.end(folder, recorded.token)

    def start(self, external_id: str) -> None:
        """Run the same command again, with the same identity."""
        folder = self._known(external_id)
        recorded = self._recorded(folder)
        if processes.group_alive(folder):
            return
        processes.end(folder, recorded.token)
        self._run(folder, recorded)
        _write(folder, Recorded(**{**asdict(recorded), "stopped": False}))

    def destroy(self, external_id: str) -> None:
        """End every process and remove the folder; the log is kept beside the root."""
        token = _token(external_id)
        folder = self._folder(token)
        processes.end(folder, token)
        if not folder.exists():
            return
        kept = self.root.parent / "log" / "pods"
        try:
            kept.mkdir(parents=True, exist_ok=True)
            if (folder / "agent.log").exists():
                (folder / "agent.log").replace(kept / f"{external_id}.log")
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise Unavailable(f"{folder}: {exc.strerror}") from exc

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines of the agent, also after its end."""
        _token(external_id)
        for file in (
            self._folder(_token(external_id)) / "agent.log",
            self.root.parent / "log" / "pods" / f"{external_id}.log",
        ):
            if file.exists():
                return "\n".join(file.read_text(errors="replace").splitlines()[-tail:])
        raise NotFound(f"{external_id} has no log here")

    def balance(self) -> Decimal | None:
        """There is no money in it."""
        return None

    def _folder(self, token: str) -> Path:
        if not TOKEN.fullmatch(token):
            raise Refused(f"{token!r} is no token: use letters, digits and -")
        return self.root / token

    def _known(self, external_id: str) -> Path:
        folder = self._folder(_token(external_id))
        if not folder.is_dir():
            raise NotFound(f"no machine {external_id} here")
        return folder

    def _count(self) -> int:
        return sum(1 for f in self.root.iterdir() if f.is_dir()) if self.root.exists() else 0

    def _recorded(self, folder: Path) -> Recorded:
        try:
            return Recorded(**json.loads((folder / "machine.json").read_text()))
        except FileNotFoundError as exc:
            raise NotFound(f"no machine in {folder.name}") from exc
        except (ValueError, TypeError, OSError) as exc:
            raise Unavailable(f"{folder.name}/machine.json cannot be read: {exc}") from exc

    def _machine(self, folder: Path) -> Machine:
        recorded = self._recorded(folder)
        phase, because = _phase(folder, recorded)
        return Machine(
            external_id=f"{ID_PREFIX}{recorded.token}",
            token=recorded.token,
            name=recorded.name,
            phase=phase,
            raw_status=phase.value,
            hourly_usd=self.hourly_usd,
            created_at=datetime.fromisoformat(recorded.created_at),
            because=because,
        )


def _phase(folder: Path, recorded: Recorded) -> tuple[Phase, str]:
    if processes.group_alive(folder):
        return (Phase.STOPPING, "") if recorded.stopped else (Phase.RUNNING, "")
    if recorded.stopped:
        return Phase.STOPPED, ""
    if (folder / "pid").exists():
        return Phase.FAILED, "its process ended by itself"
    # Between the folder and the process: the launcher may be at it, or its starter may have died.
    if processes.with_token(recorded.token):
        return Phase.RUNNING, ""
    return (
        (Phase.FAILED, "its process was never started") if _stale(folder) else (Phase.BOOTING, "")
    )


def _stale(folder: Path) -> bool:
    age = datetime.now(UTC).timestamp() - (folder / "machine.json").stat().st_mtime
    return age > processes.LAUNCH_SECONDS


def _token(external_id: str) -> str:
    token = external_id.removeprefix(ID_PREFIX)
    if not external_id.startswith(ID_PREFIX) or not TOKEN.fullmatch(token):
        raise NotFound(f"{external_id!r} is no id of a local machine")
    return token


def _write(folder: Path, recorded: Recorded) -> None:
    draft = folder / f"machine.{os.getpid()}.draft"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(recorded), file)
        draft.replace(folder / "machine.json")
    except OSError as exc:
        raise Unavailable(f"{folder}: {exc.strerror}") from exc


def connect(*, options: Mapping[str, Any], secret: str | None) -> LocalProvider:
    """The provider of an account on this machine.

    Raises:
        ValueError: an option is unknown or wrong.
    """
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise ValueError(f"local: {', '.join(unknown)} unknown; use {', '.join(sorted(OPTIONS))}")
    if "root" not in options:
        raise ValueError("local: root is missing; name the folder for its machines")
    try:
        hourly = Decimal(str(options.get("hourly_usd", "0")))
    except InvalidOperation as exc:
        raise ValueError(
            f"local: hourly_usd is {options['hourly_usd']!r}; give USD per hour"
        ) from exc
    capacity = options.get("capacity")
    if hourly < 0 or not hourly.is_finite():
        raise ValueError(f"local: hourly_usd is {hourly}; give USD per hour, 0 or above")
    if capacity is not None and (not isinstance(capacity, int) or capacity < 0):
        raise ValueError(
            f"local: capacity is {capacity!r}; give a number of machines, or leave it out"
        )
    return LocalProvider(
        Path(str(options["root"])),
        hourly_usd=hourly,
        capacity=capacity,
        python=str(options.get("python", sys.executable)),
        python_path=str(options.get("python_path", "")),
    )
