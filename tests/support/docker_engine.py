"""A small Docker engine on a port of this machine, after the documents of its API (1.24 to 1.52).

It has containers, images, GPUs, and a range of API versions that it takes. No process runs.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from pods.emulators.base import Reply, Request
from pods.emulators.registries import PrivateImages

_PATH: Final = re.compile(r"(?:/v(\d+)\.(\d+))?(/.*)")
_TIME: Final = 1_764_400_000
DIGEST: Final = "sha256:" + "ab" * 32


@dataclass(slots=True)
class Container:
    """A container: `created`, `running` or `exited`."""

    name: str
    asked: Mapping[str, Any]
    state: str = "created"

    @property
    def id(self) -> str:
        """An id as the engine makes it."""
        return sha256(self.name.encode()).hexdigest()

    @property
    def gpus(self) -> list[str]:
        """The ids of its GPUs. A count is answered with the first ones, as nvidia's runtime does."""
        requests = self.asked["HostConfig"].get("DeviceRequests") or []
        given: list[str] = []
        for one in requests:
            given += one.get("DeviceIDs") or [str(n) for n in range(one.get("Count", 0))]
        return given


@dataclass(slots=True)
class DockerEngine:
    """The state of the engine. Tests set it up, and read it."""

    name: str = "docker"
    oldest: tuple[int, int] = (1, 24)
    newest: tuple[int, int] = (1, 52)
    says_limits: bool = True  # whether a refused version is answered with the limit
    serves_version: bool = True
    gpus: int = 0
    images: set[str] = field(default_factory=lambda: {"you/agent:1"})
    # What each pull prints, and what the registry has: image and tag, or image and digest.
    registry: set[tuple[str, str]] = field(default_factory=set)
    pull_lines: list[Mapping[str, Any]] = field(default_factory=list)
    pulled: list[tuple[str, str]] = field(default_factory=list)
    containers: dict[str, Container] = field(default_factory=dict)
    private: PrivateImages = field(default_factory=PrivateImages)
    # How it says that a registry refuses: in the stream of a 200, by a 404, or by a 500.
    refuses_by: int = 200

    def tick(self) -> None:
        """Nothing is due by a clock."""

    def answer(self, request: Request) -> Reply:
        """The answer of an engine."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return _error(404, "page not found")
        if match[1] and (refused := self._refuses((int(match[1]), int(match[2])))):
            return _error(400, refused)
        path = match[3]
        if path == "/version" and self.serves_version:
            return Reply(
                json={"ApiVersion": _text(self.newest), "MinAPIVersion": _text(self.oldest)}
            )
        if path == "/images/create":
            if not self.private.gives(request.param("fromImage"), _login(request)):
                return self._refused(request.param("fromImage"))
            return self._pull(request.param("fromImage"), request.param("tag"))
        if image := re.fullmatch(r"/images/(.+)/json", path):
            known = image[1] in self.images
            return Reply(json={}) if known else _error(404, f"No such image: {image[1]}")
        return self._containers(request, path)

    def _refuses(self, version: tuple[int, int]) -> str:
        if self.oldest <= version <= self.newest:
            return ""
        old = version < self.oldest
        word, limit = ("Minimum", self.oldest) if old else ("Maximum", self.newest)
        said = f"client version {_text(version)} is too {'old' if old else 'new'}."
        return (
            f"{said} {word} supported API version is {_text(limit)}" if self.says_limits else said
        )

    def _refused(self, name: str) -> Reply:
        if self.refuses_by == 404:
            text = f"pull access denied for {name}, repository does not exist or may require 'docker login'"
            return _error(404, text)
        if self.refuses_by == 500:
            return _error(
                500, f'Head "https://{name}": unauthorized: incorrect username or password'
            )
        text = f"unauthorized: authentication required for {name}"
        line = json.dumps({"errorDetail": {"message": text}, "error": text}) + "\r\n"
        return Reply(stream=lambda _: iter([line.encode()]))

    def _pull(self, name: str, version: str) -> Reply:
        self.pulled.append((name, version))
        lines: list[Mapping[str, Any]] = [{"status": f"Pulling from {name}", "id": version}]
        lines += self.pull_lines or [{"status": "Download complete"}]
        if (name, version) in self.registry:
            self.images.add(f"{name}@{version}" if ":" in version else f"{name}:{version}")
        text = "".join(json.dumps(line) + "\r\n" for line in lines)

        def parts(_: object) -> Iterator[bytes]:
            yield text.encode()

        return Reply(stream=parts)

    def _containers(self, request: Request, path: str) -> Reply:
        if path == "/containers/json":
            return Reply(json=[_row(c) for c in self.containers.values()])
        if path == "/containers/create":
            return self._create(request)
        match = re.fullmatch(r"/containers/([^/]+)(?:/(json|start|stop|logs))?", path)
        found = self._found(match[1]) if match else None
        if match is None or found is None:
            return _error(404, f"No such container: {path}")
        if request.method == "DELETE":
            del self.containers[found.name]
            return Reply(status=204)
        return self._act(found, match[2])

    def _create(self, request: Request) -> Reply:
        asked, name = request.json(), request.param("name")
        if asked["Image"] not in self.images:
            return _error(404, f"No such image: {asked['Image']}")
        if name in self.containers:
            return _error(409, f'Conflict. The container name "/{name}" is already in use')
        container = self.containers[name] = Container(name, asked)
        return Reply(status=201, json={"Id": container.id, "Warnings": []})

    def _act(self, container: Container, verb: str) -> Reply:
        if verb == "json":
            return Reply(json=_inspected(container))
        if verb == "logs":
            text = b"it runs\n"
            return Reply(stream=lambda _: iter([b"\1\0\0\0" + len(text).to_bytes(4, "big") + text]))
        if verb == "start":
            if any(int(gpu) >= self.gpus for gpu in container.gpus):
                return _error(500, 'could not select device driver "" with capabilities: [[gpu]]')
            container.state = "running"
        else:
            container.state = "exited"
        return Reply(status=204)

    def _found(self, name: str) -> Container | None:
        return next((c for c in self.containers.values() if name in {c.name, c.id}), None)


def _login(request: Request) -> tuple[str, str] | None:
    """The login in the header of a pull: base64url of JSON."""
    raw = request.headers.get("x-registry-auth")
    if raw is None:
        return None
    said = json.loads(base64.urlsafe_b64decode(raw))
    assert said.keys() == {"username", "password", "serveraddress"}
    return said["username"], said["password"]


def _error(status: int, message: str) -> Reply:
    return Reply(status=status, json={"message": message})


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _row(container: Container) -> Mapping[str, Any]:
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Created": _TIME,
        "State": container.state,
        "Status": container.state,
        "Labels": container.asked["Labels"],
    }


def _inspected(container: Container) -> Mapping[str, Any]:
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Created": "2025-11-29T07:06:40.5Z",
        "State": {"Status": container.state, "ExitCode": 0, "OOMKilled": False, "Error": ""},
        "Config": {"Labels": container.asked["Labels"]},
    }
