"""The provider `local`: a machine is a folder, and its agent is a process group with its mark.

`machine.json` in the folder says what should be, and is written first. The pid file says what was
started. Where they disagree, a process died halfway, and the next one that looks does the rest.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pods.agent.protocol import CACHE, CACHE_DAYS, ENDED_BY
from pods.machine_names import has_tag
from pods.masking import SECRET_NAME
from pods.providers.base import Capabilities, Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.errors import NoCapacity, NotFound, Refused, Unavailable
from pods.providers.local import folder as folders
from pods.providers.local import processes
from pods.providers.local.folder import Recorded
from pods.providers.local.launch import LOG, OLDER_LOG
from pods.providers.local.mapping import ID_PREFIX, checked_token, phase, token_of
from pods.providers.local.options import Options
from pods.providers.pacing import MakePacer, unpaced
from pods.providers.wire import cleaned, secrets_in

CHECKOUT: Final = Path(__file__).resolve().parents[3]
OFFER: Final = "local"
# The variables that a pod gets from the manager: never a secret, never the mark of the stack.
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "OPENBLAS_CORETYPE")
STACK_MARK: Final = "PODFLEET_STACK"
OWN_VARIABLES: Final = "PODFLEET_"  # of the agent: the passwords in these are in an address
TOKEN_VARIABLE: Final = "PODFLEET_TOKEN"  # noqa: S105 - a name
BUNDLE_VARIABLE: Final = "PODFLEET_BUNDLE"
# Code and environments that no machine has begun to use for so many days are deleted.
CODE_KEPT_DAYS: Final = "14"
LOG_BYTES_A_LINE: Final = 1_000  # longer lines are cut at the start of the part that is read
# Of a destroyed machine the end of its log is kept, of the last machines alone: 256 MiB in all.
KEPT_BYTES: Final = 2**18
KEPT_LOGS: Final = 1_000
LONGEST_PASSWORD: Final = (
    4_096  # bytes that are read more, so that no half of one is left at the cut
)
LONGEST_QUOTE: Final = 200  # characters of the last line that a reason quotes


class LocalProvider:
    """The machines in the folder `root`. It has no other state."""

    name = "local"
    capabilities = Capabilities(
        can_stop=True,
        on_this_host=True,
        offers_last=timedelta(days=1),  # own prices
        most_gpus=0,  # its pods share what the host has
    )

    def __init__(self, options: Options) -> None:
        self._options = options
        self.capabilities = replace(type(self).capabilities, python=options.python)
        self._root = options.root

    def __repr__(self) -> str:
        return f"LocalProvider({str(self._root)!r})"

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """One offer while there is room. None where the query wants what a process does not have."""
        price, most = self._options.hourly_usd, query.max_hourly_usd
        dear = most is not None and price > most
        if query.gpu_count > 1:  # one is the default of every fleet
            return ()
        if query.gpu_types or query.min_vram_gb or query.regions or query.interruptible or dear:
            return ()
        if self._full():
            return ()
        return (Offer(key=OFFER, hourly_usd=price, stopped_hourly_usd=Decimal(0)),)

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Start the agent. A second create with the same token returns the same machine."""
        folder = self._folder(token)
        asked = self._asked(spec, token)
        if spec.offer_key not in {OFFER, ""}:
            raise NoCapacity(f"there is no offer {spec.offer_key!r} here")
        _make(self._root)
        with folders.locked(self._root) as lock:
            if lock is None:
                raise Unavailable(f"{self._root} is locked")
            if not folders.exists(folder):
                if self._full():
                    raise NoCapacity(f"the account's capacity is reached: {self._options.capacity}")
                _make(folder)
                processes.forget(folder)  # a destroy that died halfway may have left it
                folders.write(folder, asked)
        return self._machine(folder)

    def status(self, external_id: str) -> Machine:
        """The machine as its folder and its processes show it."""
        return self._machine(self._known(external_id))

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Every machine whose name begins with the tag."""
        machines = []
        for folder in self._folders():
            with suppress(NotFound):  # it was destroyed meanwhile, or never recorded
                if has_tag(folders.read(folder).name, tag):
                    machines.append(self._machine(folder))
        return machines

    def stop(self, external_id: str) -> None:
        """End every process and keep the folder."""
        folder = self._known(external_id)
        with folders.locked(folder) as lock:
            if lock is None:
                raise Unavailable(
                    f"another process has held the lock of {external_id} for too long"
                )
            folders.write(folder, replace(folders.read(folder), stopped=True))
            self._finish(folder, lock)

    def start(self, external_id: str) -> None:
        """Run the same command again, with the same token and environment."""
        folder = self._known(external_id)
        with folders.locked(folder) as lock:
            if lock is None:
                raise Unavailable(
                    f"another process has held the lock of {external_id} for too long"
                )
            recorded = folders.read(folder)
            if processes.running(folder) is not None and not recorded.stopped:
                return
            processes.end(folder)
            processes.forget(folder)
            folders.write(folder, replace(recorded, stopped=False))
            self._finish(folder, lock)

    def destroy(self, external_id: str) -> None:
        """End every process and remove the folder. The log is kept beside the root, if possible."""
        token = token_of(external_id)
        folder = self._folder(token)
        with suppress(NotFound), folders.locked(folder):
            # A machine that cannot be locked or read is destroyed too. It is recorded as stopped, so
            # that it does not look like one that failed by itself while it ends.
            with suppress(Unavailable, NotFound):
                folders.write(folder, replace(folders.read(folder), stopped=True))
            processes.end(folder)
            self._remove(folder, external_id)
        # Once more: the folder may be gone, or the holder of the lock may have continued.
        processes.end(folder)

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines of the agent, also after its end."""
        folder = self._folder(token_of(external_id))
        for files in (_log_files(folder), [self._kept_log(external_id)]):
            with folders.on_disk(files[-1]), suppress(FileNotFoundError):
                return "\n".join(_tail(files, tail, hide=_passwords(folder)))
        if folders.exists(folder):
            return ""
        raise NotFound(f"{external_id} has no log here")

    def balance(self) -> Decimal | None:
        """There is no balance: nobody is paid."""
        return None

    def _asked(self, spec: PodSpec, token: str) -> Recorded:
        if not has_tag(spec.name, spec.tag):
            raise Refused(f"{spec.name!r} does not begin with its tag, {spec.tag!r}")
        words = [*spec.env, *spec.env.values()]
        if any("\0" in word for word in words) or any("=" in n or not n for n in spec.env):
            raise Refused("env has a name or a value that no process can get; use no NUL and no =")
        return Recorded(
            token=token,
            name=spec.name,
            # a command begins with a Python: the account's own
            command=[self._options.python, *(spec.command[1:] or ("-m", "pods.agent"))],
            env=dict(spec.env),
            created_at=datetime.now(UTC),  # noqa: TID251 - this is the vendor's clock
        )

    def _environment(self, recorded: Recorded) -> Mapping[str, str]:
        # Code of its own comes with the agent's wheel. The checkout must not hide that.
        agent = "" if recorded.env.get(BUNDLE_VARIABLE) else str(CHECKOUT)
        path = os.pathsep.join(p for p in (agent, self._options.python_path) if p)
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env |= {CACHE: str(self._root.parent / "code"), CACHE_DAYS: CODE_KEPT_DAYS}
        env |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **recorded.env}
        env.pop(STACK_MARK, None)
        env.pop(ENDED_BY, None)  # the machine is the manager's own host
        mark = {processes.MARK: str(self._folder(recorded.token))}
        return env | {TOKEN_VARIABLE: recorded.token} | mark

    def _machine(self, folder: Path) -> Machine:
        because = self._settle(folder)
        # Processes first, then the record: a stop is recorded before the processes end.
        pid, started = processes.running(folder), processes.was_started(folder)
        recorded = folders.read(folder)
        now = phase(recorded, running=pid is not None, started=started)
        if now is Phase.FAILED:
            because = self._failed(folder)
        elif pid is not None and processes.output_waits(folder):
            processes.resume_output(folder, self._environment(recorded), cwd=CHECKOUT)
        return Machine(
            external_id=f"{ID_PREFIX}{recorded.token}",
            token=recorded.token,
            name=recorded.name,
            phase=now,
            raw_status=now.value if pid is None else f"{now.value}, process {pid}",
            hourly_usd=self._options.hourly_usd,
            stopped_hourly_usd=Decimal(0),
            created_at=recorded.created_at,
            because=because,
        )

    def _failed(self, folder: Path) -> str:
        """How its process ended, with the last line that it printed."""
        ended = processes.how_it_ended(folder)
        with suppress(OSError, IndexError):
            last = _tail(_log_files(folder), 1, hide=_passwords(folder))[0]
            return f"{ended}: {last[:LONGEST_QUOTE]}" if last else ended
        return ended

    def _settle(self, folder: Path) -> str:
        """Finish what another process began before it died. The reason why that failed, or ""."""
        if _agree(folder):
            return ""
        try:
            with folders.locked(folder, seconds=0) as lock:
                if lock is not None:
                    self._finish(folder, lock)
        except Unavailable as exc:
            return str(exc)
        return ""

    def _finish(self, folder: Path, lock: int) -> None:
        """Start or end the processes as the record says. The caller holds the lock."""
        recorded = folders.read(folder)
        if recorded.stopped:
            processes.end(folder)
            processes.forget(folder)
        elif not processes.was_started(folder) and not processes.adopt(folder):
            env = self._environment(recorded)
            processes.start(folder, recorded.command, env, cwd=CHECKOUT, lock=lock)

    def _remove(self, folder: Path, external_id: str) -> None:
        kept = self._kept_log(external_id)
        # A log that cannot be kept must not keep the machine.
        with suppress(OSError):
            _keep(_shown_end(folder), kept)
        with folders.on_disk(folder):
            # The record goes first: without it this is no longer a machine, if the rest fails.
            (folder / "machine.json").unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)

    def _kept_log(self, external_id: str) -> Path:
        return self._root.parent / "log" / "pods" / f"{external_id}.log"

    def _folder(self, token: str) -> Path:
        return self._root / checked_token(token)

    def _known(self, external_id: str) -> Path:
        folder = self._folder(token_of(external_id))
        if not folders.exists(folder):
            raise NotFound(f"there is no machine {external_id} here")
        return folder

    def _folders(self) -> Sequence[Path]:
        with folders.on_disk(self._root), suppress(FileNotFoundError):
            return sorted(self._root.iterdir())
        return ()

    def _full(self) -> bool:
        most = self._options.capacity
        return most is not None and sum(map(folders.exists, self._folders())) >= most


def _agree(folder: Path) -> bool:
    return folders.read(folder).stopped != processes.was_started(folder)


def _make(folder: Path) -> None:
    with folders.on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _passwords(folder: Path) -> Sequence[str]:
    """The passwords in the environment of a recorded machine, and what its names call secret."""
    try:
        env = folders.read(folder).env
    except (NotFound, Unavailable):
        return ()
    named = [env[n] for n in env if SECRET_NAME.search(n) and not n.startswith(OWN_VARIABLES)]
    # `secrets_in` returns the value first, then the passwords in it.
    return [*named, *(secret for value in env.values() for secret in secrets_in([value])[1:])]


def _log_files(folder: Path) -> Sequence[Path]:
    """The files of a machine's log, the older one first."""
    return folder / OLDER_LOG, folder / LOG


def _tail(files: Sequence[Path], lines: int, *, hide: Sequence[str]) -> Sequence[str]:
    """The last lines, without control characters and credentials.

    Raises:
        FileNotFoundError: none of the files exists.
    """
    size = max(0, lines) * LOG_BYTES_A_LINE
    text = cleaned(_end_of(files, size + LONGEST_PASSWORD).decode(errors="replace"), hide)
    return text[-size:].removesuffix("\n").split("\n")[-lines:] if lines > 0 else []


def _end_of(files: Sequence[Path], size: int) -> bytes:
    """The last bytes of a log. For a moment both names may mean one file, which is read once."""
    text, read = b"", set[int]()
    for file in reversed(files):
        with suppress(FileNotFoundError), file.open("rb") as log:
            inode = os.fstat(log.fileno()).st_ino
            if inode in read:
                continue
            read.add(inode)
            log.seek(max(0, log.seek(0, os.SEEK_END) - (size - len(text))))
            text = log.read(size - len(text)) + text
    if not read:
        raise FileNotFoundError(files[-1])
    return text


def _shown_end(folder: Path) -> bytes:
    """The end of a log without passwords, while the record that says what to hide is still there."""
    end = _end_of(_log_files(folder), KEPT_BYTES + LONGEST_PASSWORD)
    return cleaned(end.decode(errors="replace"), _passwords(folder)).encode()[-KEPT_BYTES:]


def _keep(text: bytes, kept: Path) -> None:
    """Write the log of a destroyed machine, and delete the oldest logs where there are too many."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    logs = [(log.stat().st_mtime, log) for log in kept.parent.glob(f"{ID_PREFIX}*.log")]
    for _, log in sorted(logs)[:-KEPT_LOGS]:
        log.unlink(missing_ok=True)


def connect(
    *, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer = unpaced
) -> LocalProvider:
    """The provider of an account on this machine.

    Raises:
        ValueError: an option is unknown or wrong, or there is a secret.
    """
    if secret:
        raise ValueError(
            "local: there is a secret; leave it empty, because this machine needs none"
        )
    return LocalProvider(Options.parse(options))
