"""The receiver of a webhook: an HTTP server on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """A receiver; a subclass defines `take`, and keeps the requests that its test checks."""

    location = ""  # the address that it redirects to

    def __init__(self) -> None:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = webhook.take(body, self.headers)
                if not status:
                    self.connection.close()
                    return
                self.send_response(status)
                if webhook.location:
                    self.send_header("Location", webhook.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"

    def take(self, body: bytes, headers: Message) -> int:
        """The status of the answer; 0: close the connection without an answer."""
        raise NotImplementedError

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Within the block the server answers."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        yield
        self._server.shutdown()
        thread.join()
        self._server.server_close()
