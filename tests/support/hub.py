"""A small server that speaks the endpoints of the Hugging Face hub which a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


class Hub:
    """Models by name; each has files. `token`: who may read `private` ones."""

    def __init__(self) -> None:
        self.url = ""
        self.models: dict[str, Mapping[str, bytes]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.token = "hf_right"
        self.sizes: dict[str, int] = {}  # what is said of a file instead of its true size
        self.fetched: list[str] = []
        self.hang = threading.Event()  # set: no file ends
        self.go_on = threading.Event()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0].strip("/")
            words = path.split("/")
            if words[:2] == ["api", "models"] and len(words) >= 4:
                name = "/".join(words[2:4])
                self._tree(name, body=body) if "tree" in words else self._info(name, body=body)
            elif "resolve" in words:
                at = words.index("resolve")
                self._file("/".join(words[:at]), "/".join(words[at + 2 :]), body=body)
            else:
                self._send(404, b"{}", body=body)

        def _refused(self, name: str, *, body: bool) -> bool:
            allowed = self.headers.get("Authorization") == f"Bearer {hub.token}"
            if name not in hub.models or (name in hub.private and not allowed):
                self._send(401, b"{}", body=body, **{"X-Error-Code": "RepoNotFound"})
                return True
            if name in hub.gated and not allowed:
                self._send(403, b"{}", body=body, **{"X-Error-Code": "GatedRepo"})
                return True
            return False

        def _info(self, name: str, *, body: bool) -> None:
            if self._refused(name, body=body):
                return
            files = hub.models[name]
            said = {
                "id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [],
                "siblings": [
                    {"rfilename": file, "size": hub.sizes.get(file, len(content))}
                    for file, content in files.items()
                ],
            }  # fmt: skip
            self._send(200, json.dumps(said).encode(), body=body)

        def _tree(self, name: str, *, body: bool) -> None:
            if self._refused(name, body=body):
                return
            said = [
                {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                for file, content in hub.models[name].items()
            ]
            self._send(200, json.dumps(said).encode(), body=body)

        def _file(self, name: str, file: str, *, body: bool) -> None:
            if self._refused(name, body=body):
                return
            content = hub.models[name].get(file)
            if content is None:
                self._send(404, b"", body=body, **{"X-Error-Code": "EntryNotFound"})
                return
            if body:
                hub.fetched.append(file)
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._send(200, content, body=body, **{"ETag": etag, "X-Repo-Commit": COMMIT})

        def _send(self, status: int, content: bytes, *, body: bool, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if not body:
                return
            if hub.hang.is_set() and len(content) > 1000:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                hub.go_on.wait(30)
                return
            self.wfile.write(content)

    return Handler


@contextmanager
def a_hub() -> Iterator[Hub]:
    """A running hub without models."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
