"""Builds the environment of a pod's code, says how it goes, and becomes the agent.

start.py fetched it with the agent's wheel and runs it from there, before anything is installed. So it
uses the standard library alone. docs/reference/bootstrap.md describes it.
"""

import collections
import fcntl
import glob
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import site
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from pods.agent import disk, python_needed, warming
from pods.agent.start import Failed, Redis, Refused, authority, fetch

# What installers print of their plan: uv "Resolved 48 packages", pip "Installing …: a, b".
PLAN = re.compile("Resolved ([0-9]+) pack|Installing collected packages: (.*)")
WRONG = re.compile(r"\W*(error|cause|hint)\b", re.IGNORECASE)
LOGIN = re.compile("://[^@/ ]*@")
# A requirement of the agent's own wheel, with its extras: `podfleet-agent[onnx]`.
OWN = re.compile(r"podfleet[-_.]+agent(?![\w.-])\s*(?:\[([^\]]*)\])?", re.IGNORECASE)
LINES_KEPT = 40
LONGEST_REASON = 400  # characters; the manager keeps 500
# Packages of an image that is otherwise bare.
TOOLS = {"pip", "setuptools", "wheel", "uv"}
# From so many requirements on, uv is quicker than pip although it must be installed first.
WORTH_UV = 10
CODE_PATIENCE_SECONDS = 60.0  # the manager writes lost code again with its next tick
EXIT_FENCED, EXIT_ORPHANED, EXIT_SIGTERM = 4, 5, 143
TTL_MS = 3_600_000
# Fields of a heartbeat (protocol.py) of an agent that has not worked yet.
COUNTS = ("done", "failed", "dead", "duplicates", "claimed", "in_flight", "idle_ms", "oldest_ms")
# Ends the machine at its vendor, with the agent's own code (pods/agent/ending.py).
END = (
    "import os,sys;sys.path[:0]=sys.argv[1:];from pods.agent.ending import end_machine;"
    "end_machine(os.environ);os._exit(5)"
)
# The names of the package index for pip, and for uv.
INDEX_NAMES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
}
Variables = Mapping[str, str]


class Steps:
    """Takes in what an installation does. `Report` sends it to the manager."""

    def __init__(self) -> None:
        self.note, self.state = "", "starting"
        self.child: "Optional[subprocess.Popen[str]]" = None
        self.site, self.total, self.there = "", 0, 0  # packages: planned, and there before

    def say(self, note: str, state: str = "starting") -> None:
        """This is the present step."""
        self.note, self.state, self.total = note, state, 0
        print("podfleet:", note, flush=True)  # noqa: T201

    def present(self) -> str:
        """The step, and while packages are installed how many of them are there."""
        if not self.total:
            return self.note
        done = len(glob.glob(self.site + "/*.dist-info")) - self.there
        return f"installing {max(0, min(done, self.total))} of {self.total} packages"


class Report(Steps):
    """Says in heartbeats what the machine does, and listens for the manager."""

    def __init__(self, redis: Redis, wheel: str, env: Variables) -> None:
        super().__init__()
        self.redis, self.wheel = redis, wheel
        self.keys = f"podfleet:{env['PODFLEET_FLEET']}:"
        self.pod = f"{self.keys}pod:{env['PODFLEET_POD']}"
        self.lease, self.moved = b"", time.monotonic()
        self.began, self.every = self.moved, float(env.get("PODFLEET_HEARTBEAT_SECONDS", 3))
        self.orphan = float(env.get("PODFLEET_ORPHAN_SECONDS", 900))

    def say(self, note: str, state: str = "starting") -> None:
        """Report this from now on."""
        super().say(note, state)
        self.beat()

    def run(self) -> None:
        """Send heartbeats for ever."""
        while True:
            time.sleep(self.every)
            self.beat()

    def beat(self) -> None:
        """Send one heartbeat, and do what the manager wants. The process ends where it is unwanted."""
        try:
            fenced, lease, command = self.send()
        except Refused as exc:
            print("podfleet: refused:", exc, flush=True)  # noqa: T201
            self.leave(EXIT_FENCED)
            return
        except OSError:
            fenced, lease, command = False, b"", b""
        if fenced:
            self.leave(EXIT_FENCED)
        if command:
            self.leave(0)
        if lease and lease != self.lease:
            self.lease, self.moved = lease, time.monotonic()
        if time.monotonic() - self.moved > self.orphan:
            self.leave(EXIT_ORPHANED)

    def send(self) -> "tuple[bool, bytes, bytes]":
        """Whether this pod is written off, the manager's lease, and its command."""
        ask = self.redis
        if ask("EXISTS", self.pod + ":fence") != "0":
            return True, b"", b""
        seconds, micros = ask("TIME")
        fields: "dict[str, Any]" = {
            **dict.fromkeys(COUNTS, 0),
            "version": 2,
            "since_ack_ms": -1,
            "state": self.state,
            "note": self.present(),
            "at_ms": int(seconds) * 1000 + int(micros) // 1000,
            "uptime_ms": int((time.monotonic() - self.began) * 1000),
        }
        ask("HSET", self.pod, *[word for pair in fields.items() for word in pair])
        ask("PEXPIRE", self.pod, TTL_MS)
        return False, ask("GET", self.keys + "lease"), ask("GET", self.pod + ":command")

    def leave(self, code: int) -> None:
        """End this process and what it started; without a manager, end the machine too."""
        if self.child is not None:
            self.child.kill()
        if code == EXIT_ORPHANED:
            os.execv(sys.executable, [sys.executable, "-c", END, self.wheel])  # noqa: S606
        os._exit(code)


def fetched(report: Report, cache: str, digest: str) -> str:
    """Fetch the code and unpack it. Returns its folder.

    The manager writes it again where the server lost it, so code that is missing is waited for.

    Raises:
        Failed: it did not come.
    """
    began, code = time.monotonic(), f"{cache}/code/{digest}"
    used = disk.Lock(Path(code))
    used.share()  # before it is looked for: from here on nobody deletes it
    while True:
        try:
            fetch(report.redis, f"{report.keys}code:{digest}", digest, code + ".zip")
            found = unpacked(code)
            used.share()
            return found
        except Failed as exc:
            if time.monotonic() - began > CODE_PATIENCE_SECONDS:
                raise
            report.say(f"waiting for the code: {exc}")
            time.sleep(2)


def unpacked(code: str) -> str:
    """Unpack the archive beside it, whole or not at all."""
    if not os.path.exists(code):
        draft = f"{code}.{time.time_ns()}"
        with zipfile.ZipFile(code + ".zip") as archive:
            archive.extractall(draft)  # its digest is checked
        try:
            os.rename(draft, code)
        except OSError:  # another pod of this machine was quicker
            shutil.rmtree(draft)
    return code


def run(command: Sequence[str], env: Variables, steps: Steps) -> None:
    """Run one step of the installation.

    Raises:
        Failed: with the last lines that it printed.
    """
    last: "collections.deque[str]" = collections.deque(maxlen=LINES_KEPT)
    child = subprocess.Popen(
        command,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    steps.child = child
    assert child.stdout is not None
    for printed in child.stdout:
        line = LOGIN.sub("://***@", printed.rstrip())
        print(line, flush=True)  # noqa: T201
        last.append(line)
        plan = PLAN.match(line)
        if plan:
            steps.total = int(plan[1] or plan[2].count(",") + 1)
        elif line.startswith("Collecting "):
            steps.note = "collecting packages: " + line.split()[1]
    if child.wait():
        said = [line.strip() for line in last if WRONG.match(line)] or list(last)[-3:]
        raise Failed(("the environment cannot be built: " + " | ".join(said))[:LONGEST_REASON])


def home_of(cache: str, agent: str, wants: Sequence[str]) -> str:
    """The folder of the environment with these packages. It has a file `ready` once it is built."""
    parts = [sys.version, sys.prefix, agent, *wants]
    return f"{cache}/environments/{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def environment(cache: str, agent: str, wants: Sequence[str], env: Variables, steps: Steps) -> str:
    """The Python with these packages and the agent; it is built once for each set on this disk.

    What the image brings is used, and nothing of it is changed. `agent`: its requirement, or "": then
    only what the code itself asks for is there.

    Raises:
        Failed: it cannot be built; the message has the last lines of the installation.
    """
    home = home_of(cache, agent, wants)
    python = home + "/bin/python"
    used = disk.Lock(Path(home))
    used.share()
    with open(home + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(home + "/ready"):
            steps.say(f"preparing {len(wants)} requirements")
            shutil.rmtree(home, ignore_errors=True)
            _build(home, agent, wants, env, steps)
            open(home + "/ready", "w").close()
    used.share()
    return python


def _build(home: str, agent: str, wants: Sequence[str], env: Variables, steps: Steps) -> None:
    inherits = ["--system-site-packages"] if agent else []
    run([sys.executable, "-m", "venv", *inherits, "--without-pip", home], env, steps)
    [steps.site] = glob.glob(home + "/lib/python*/site-packages")
    if agent and sys.prefix != sys.base_prefix:  # the image's own Python is in an environment too
        with open(steps.site + "/image.pth", "w") as file:
            file.write("\n".join(site.getsitepackages()))
    asked = [*filter(None, [agent]), *wants]
    hashed = [want for want in asked if " --hash=" in want]
    # With one hash pip wants them for all in a file, and the agent has none. Those with hashes come
    # first, so that an extra of the agent finds them and fetches no other version.
    for name, group in ("hashed", hashed), ("bare", [w for w in asked if w not in hashed]):
        if group:
            with open(f"{home}/{name}.txt", "w") as file:
                file.write("\n".join(group))
            command = installer(home + "/bin/python", len(wants), env, steps, inherits=bool(agent))
            run([*command, "-r", f"{home}/{name}.txt"], env, steps)


def installer(
    python: str, wants: int, env: Variables, steps: Steps, *, inherits: bool
) -> Sequence[str]:
    """The command that installs: uv into a bare image, if it is there or can be had; else pip.

    uv does not see the packages of the image. It would install another torch beside the image's.
    """
    names = {str(d.metadata["Name"]).lower() for d in importlib.metadata.distributions()}
    names.discard("podfleet-agent")  # the wheel that this runs from
    bare, uv = not inherits or names <= TOOLS, shutil.which("uv")
    pip = [python if inherits else sys.executable, "-m", "pip", "--no-input"]
    pip += ["--disable-pip-version-check", *([] if inherits else ["--python", python]), "install"]
    pip.append("--progress-bar=off")
    if "pip" not in names and not uv:
        run([python, "-m", "ensurepip"], env, steps)
        pip[0] = python
    if bare and inherits and not uv and wants > WORTH_UV:
        try:
            run([*pip, "--retries=0", "uv"], env, steps)
            uv = os.path.dirname(python) + "/uv"
        except Failed:
            pass
    steps.there, steps.total = len(glob.glob(steps.site + "/*.dist-info")), 0
    use_uv = uv and (bare or "pip" not in names)
    return [str(uv), "pip", "install", "--python", python] if use_uv else pip


def for_installer(env: Variables, secrets: Variables) -> Variables:
    """The environment of the installer: its package index is a variable or a secret of the fleet."""
    found = {**env, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    found.update({n: value for n, value in secrets.items() if n.startswith(("PIP_", "UV_"))})
    for pip, uv in INDEX_NAMES.items():
        if pip in found:
            found.setdefault(uv, found[pip])
    return found


def for_agent(python: str, code: str, paths: Sequence[str], env: Variables) -> Variables:
    """The environment of a program in the built environment, with the code on its path."""
    folder = os.path.dirname(python)
    there = [os.path.join(code, path) for path in paths]
    return {
        **env,
        "VIRTUAL_ENV": os.path.dirname(folder),
        "PYTHONPATH": os.pathsep.join([*there, *filter(None, [env.get("PYTHONPATH")])]),
        "PATH": folder + os.pathsep + env.get("PATH", os.defpath),
    }


def with_models_kept(env: Variables, cache: str) -> Variables:
    """The environment in which models of the Hugging Face hub are kept beside the code.

    A folder of models that the image, the user or this machine has already is used as it is.
    """
    home = env.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if env.get("HF_HOME") or os.path.isdir(home + "/huggingface"):
        return env
    return {**env, "HF_HOME": cache + "/models"}


def of_wheel(
    wants: Sequence[str], wheel: str, extras: Sequence[str]
) -> "tuple[str, Sequence[str]]":
    """The requirement of the agent, and the others. `podfleet-agent[…]` among them adds its extras.

    The agent is the manager's wheel. No index has it.
    """
    own = [(want, OWN.match(want)) for want in wants]
    named = [part.strip() for _, found in own if found for part in (found[1] or "").split(",")]
    all_extras = ",".join(sorted({*extras, *filter(None, named)}))
    agent = f"podfleet-agent[{all_extras}] @ file://{wheel}".replace("[]", "")
    return agent, [want for want, found in own if not found]


def read_bundle(code: str) -> "dict[str, Any]":
    """What the manager wrote into the archive: `requirements`, and the `paths` to import from."""
    with open(code + "/.podfleet/bundle.json") as file:
        bundle: "dict[str, Any]" = json.load(file)
    return bundle


def work(report: Report, cache: str, env: Variables, *, looked: bool) -> None:
    """Fetch the code, install, and become the agent: its process, signals and exit code are ours."""
    report.say("fetching the code")
    code = fetched(report, cache, env["PODFLEET_BUNDLE"])
    bundle = read_bundle(code)
    python_needed.ensure(bundle.get("python", ""), report.wheel, env, looked=looked)
    flat = report.redis("HGETALL", report.keys + "secrets")
    pairs = zip(flat[::2], flat[1::2], strict=True)
    secrets = {n.decode()[4:]: v.decode() for n, v in pairs if n.startswith(b"env:")}
    extras = ["datasets"] if env.get("PODFLEET_KIND") == "dataset" else []
    installing = for_installer(env, secrets)
    agent, wants = of_wheel(bundle["requirements"], report.wheel, extras)
    python = environment(cache, agent, wants, installing, report)
    days = env.get("PODFLEET_CACHE_DAYS")
    if days:  # a machine that is thrown away needs no sweep
        disk.sweep(Path(cache), float(days))
    os.chdir(code)
    variables = for_agent(python, code, bundle["paths"], with_models_kept(env, cache))
    warming.warm(python, cache, variables, secrets, report)
    report.say("starting the agent")
    os.execve(python, [python, "-m", "pods.agent"], dict(variables))  # noqa: S606


def main(wheel: str, env: Variables = os.environ, *, looked: bool = False) -> None:
    """Build the environment and become the agent; where that fails, say why until the pod is ended.

    `looked`: this is the Python that was found because that of the image is too old or too new.
    """
    orphan = float(env.get("PODFLEET_ORPHAN_SECONDS", 900))
    redis = Redis(env["PODFLEET_REDIS_URL"], orphan, authority(env))
    report = Report(redis, wheel, env)
    signal.signal(signal.SIGTERM, lambda *_: report.leave(EXIT_SIGTERM))
    threading.Thread(target=report.run, daemon=True).start()
    cache = os.path.expanduser(env.get("PODFLEET_CACHE") or "~/.cache/podfleet")
    try:
        work(report, cache, env, looked=looked)
    except Refused as exc:
        print("podfleet: refused:", exc, flush=True)  # noqa: T201
        report.leave(EXIT_FENCED)
    except Exception as exc:  # noqa: BLE001 - the manager must hear why, whatever it is
        report.say(
            str(exc) if isinstance(exc, Failed) else f"{type(exc).__name__}: {exc}", "failed"
        )
        while True:  # until the manager has read it, or is gone: see `beat`
            time.sleep(report.orphan)
