"""A registry of images on this machine, with the tokens of Docker's registries or with passwords."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "ann", "to-read-images"
_LOGIN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_TOKEN = "a-token"


@dataclass(slots=True)
class ImageRegistry:
    """It has `team/public:1`, and `team/private:1` for who logs in."""

    address: str = ""
    scheme: str = "bearer"
    asked: list[str] = field(default_factory=list)
    broken: int = 0  # it answers each question with this status

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def image(self, name: str) -> str:
        return f"{self.host}/{name}"

    def manifest(self, path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        """The status for `/v2/NAME/manifests/TAG`, and the headers."""
        if self.broken:
            return self.broken, {}
        assert "application/vnd.oci.image.index.v1+json" in headers["Accept"]
        name = path.removeprefix("/v2/").replace("/manifests/", ":")
        given = headers.get("Authorization", "")
        if self.scheme == "basic":
            return (_found(name), {}) if given == _LOGIN else (401, {"WWW-Authenticate": "Basic"})
        scope = f"repository:{name.partition(':')[0]}:pull"
        if given not in {f"Bearer {_TOKEN}:{scope}", f"Bearer {_TOKEN}:public"}:
            realm = f'Bearer realm="{self.address}/token",service="here",scope="{scope}"'
            return 401, {"WWW-Authenticate": realm}
        if "private" in name and given.endswith("public"):
            return 401, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
        return _found(name), {}

    def token(self, query: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """A token for everybody, or one for who logs in; another password is refused."""
        asked = parse_qs(query)
        given = headers.get("Authorization")
        if given not in {None, _LOGIN}:
            return 401, ""
        return 200, f"{_TOKEN}:{asked['scope'][0]}" if given else f"{_TOKEN}:public"


def _found(name: str) -> int:
    return 200 if name in {"team/public:1", "team/private:1"} else 404


@contextmanager
def image_registry() -> Iterator[ImageRegistry]:
    """One that runs within the block."""
    made = ImageRegistry()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_HEAD(self) -> None:
            made.asked.append(self.path)
            status, headers = made.manifest(self.path, dict(self.headers))
            self._answer(status, headers)

        def do_GET(self) -> None:
            made.asked.append(self.path.partition("?")[0])
            status, token = made.token(urlsplit(self.path).query, dict(self.headers))
            self._answer(status, {"Content-Type": "application/json"}, f'{{"token": "{token}"}}')

        def _answer(self, status: int, headers: Mapping[str, str], body: str = "") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
