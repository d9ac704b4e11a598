"""A small server with OpenAI's API that misbehaves as its input says: `model_server.py PORT [WORD…]`.

Words: `sick` is never healthy, `broken` ends at once, `late` is healthy after half a second. A text
`429 x` is answered after one refusal, `500 x` after one error, `always 500`, `slow x` after two
seconds, `refused x` with 400, `unknown x` with 404; `dies x` ends the server each time and `dies once
FILE` the first time. All others are answered with the text in capitals.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

began = time.monotonic()
lock = threading.Lock()
seen: set[str] = set()
under_way = {"now": 0, "most": 0}


def is_first(text: str) -> bool:
    with lock:
        first = text not in seen
        seen.add(text)
        return first


def refusal(text: str) -> int:
    """The status of an answer without a result; 0: there is a result."""
    if text.startswith(("429", "500")) and is_first(text):
        return int(text[:3])
    words = {"always 500": 500, "refused": 400, "unknown": 404}
    return next((code for word, code in words.items() if text.startswith(word)), 0)


def end(text: str) -> None:
    """End the server where the text says so."""
    marker = Path(text.removeprefix("dies once "))
    if text.startswith("dies once ") and marker.exists():
        return
    if text.startswith("dies"):
        if text.startswith("dies once "):
            marker.touch()
        print(f"fatal: {text[:20]}", flush=True)
        os._exit(3)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ready = "sick" not in sys.argv and (
            "late" not in sys.argv or time.monotonic() > began + 0.5
        )
        self.send(200 if ready else 503, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            under_way["now"] += 1
            under_way["most"] = max(under_way.values())
        try:
            self.answer(asked)
        finally:
            with lock:
                under_way["now"] -= 1

    def answer(self, asked: dict[str, Any]) -> None:
        text = asked["messages"][0]["content"] if "messages" in asked else asked.get("input", "")
        end(text)
        if code := refusal(text):
            self.send(code, {"error": {"message": f"no: {text}"}})
            return
        time.sleep(2 if text.startswith("slow") else 0.05)
        if self.path == "/v1/embeddings":
            said: Any = {"data": [{"embedding": [float(len(text)), 0.5]}]}
        else:
            told = [asked.get("model", "-"), asked.get("max_tokens", "-"), under_way["most"]]
            content = " ".join(map(str, [text.upper(), *told]))
            said = {"choices": [{"message": {"content": content}}]}
        self.send(200, said)

    def send(self, code: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(code)
        if code == 429:
            self.send_header("Retry-After", "0.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    print(f"listening on {sys.argv[1]}", flush=True)
    if "broken" in sys.argv:
        sys.exit("no model of this name")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
