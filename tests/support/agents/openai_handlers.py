"""Handlers that answer requests of the OpenAI API, for the tests of batches."""

import base64
import json
import struct
import time

from pods.agent.handlers import Item, Result, each


@each
def respond(item: Item) -> Result:
    """Answer as a server would; refuse an input that begins with `refuse`, fail at one with `fail`."""
    body = json.loads(item.text)
    if item.fields[b"url"] == b"/v1/chat/completions":
        return {"object": "chat.completion", "model": body["model"], "choices": []}
    text = body["input"]
    if text.startswith("fail"):
        raise ValueError(f"cannot embed {text}")
    if text.startswith("refuse"):
        return {"error": {"message": f"no such input: {text}", "code": "bad_input"}}
    if text.startswith("odd"):
        return [1, 2]
    vector: object = [0.1, 0.25, float(len(text))]
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", 0.1, 0.25, len(text))).decode()
    row = {"object": "embedding", "index": 0, "embedding": vector}
    return {"object": "list", "data": [row], "model": body["model"]}


@each
def respond_slowly(item: Item) -> Result:
    """Take 5 ms for each."""
    time.sleep(0.005)
    return respond(item)
