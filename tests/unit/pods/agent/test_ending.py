"""How an agent asks its vendor to end the machine, and what it makes of the answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pods.agent.ending import PAUSES_SECONDS, Ask, _refusal, end_machine, of_first_process, ways
from pods.agent.protocol import ended_by


class Vendor:
    """A vendor's API: it notes each request, and answers as told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str, str, bytes]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                said = self.headers.get("Content-Type", "")
                vendor.asked.append((self.command, self.path, said, body))
                status, text = vendor.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_DELETE = do_POST = answer  # noqa: N815 - http.server looks for these names

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    started = Vendor()
    started.thread.start()
    yield started
    started.server.shutdown()
    started.server.server_close()
    started.thread.join()


def environment(of: str, url: str = "", **variables: str) -> dict[str, str]:
    own = {"PODFLEET_POD": "pf-a-t1", **ended_by(of, "pf-a-t1")}
    return {**own, **({"PODFLEET_VENDOR_URL": url} if url else {}), **variables}


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"ok", ""),
        (b'{"data": {"podTerminate": null}}', ""),
        (b'{"errors": []}', ""),
        (b'{"success": true}', ""),
        (b'{"errors": [{"extensions": {"code": "POD_NOT_FOUND"}}]}', ""),
        (b'{"errors": [{"message": "no"}]}', '[{"message": "no"}]'),
        (b'{"success": false, "msg": "no"}', '{"success": false, "msg": "no"}'),
        (b" <html>", "a page instead of an answer of the API"),
    ],
)
def test_an_answer_with_status_200_may_be_a_refusal(body: bytes, because: str) -> None:
    assert _refusal(body) == because


@pytest.mark.parametrize(
    ("status", "because"), [(200, ""), (404, ""), (403, "HTTP 403"), (500, "HTTP 500")]
)
def test_a_machine_that_the_vendor_does_not_know_has_ended(
    vendor: Vendor, status: int, because: str
) -> None:
    vendor.answers = [(status, b"")]
    assert Ask("DELETE", f"{vendor.url}/pods/1", "k").send() == because
    assert vendor.asked == [("DELETE", "/pods/1", "", b"")]


def test_a_body_is_sent_as_json_also_an_empty_one(vendor: Vendor) -> None:
    vendor.answers = [(200, b"{}")] * 2
    for body in ({}, {"a": 1}):
        assert Ask("POST", f"{vendor.url}/x", "k", body).send() == ""
    assert [(said, json.loads(sent)) for _, _, said, sent in vendor.asked] == [
        ("application/json", {}),
        ("application/json", {"a": 1}),
    ]


@pytest.mark.parametrize(
    ("of", "variables", "urls"),
    [
        ("runpod", {"RUNPOD_POD_ID": "p", "RUNPOD_API_KEY": "k"}, ["/v2/pods/p", "/graphql"]),
        ("runpod", {"RUNPOD_POD_ID": "p"}, []),
        ("runpod", {"RUNPOD_API_KEY": "k"}, []),
        ("vastai", {"CONTAINER_ID": "7", "CONTAINER_API_KEY": "k"}, ["/api/v0/instances/7/"]),
        (
            "vastai",
            {"VAST_CONTAINERLABEL": "C.8", "CONTAINER_API_KEY": "k"},
            ["/api/v0/instances/8/"],
        ),
        (
            "vastai",
            {"CONTAINER_ID": "7", "VAST_CONTAINERLABEL": "C.8", "CONTAINER_API_KEY": "k"},
            ["/api/v0/instances/7/"],
        ),
        ("vastai", {"CONTAINER_ID": "7"}, []),
        ("vastai", {"CONTAINER_API_KEY": "k"}, []),
        ("local", {"RUNPOD_POD_ID": "p", "RUNPOD_API_KEY": "k"}, []),
        ("local", {"CONTAINER_ID": "7", "CONTAINER_API_KEY": "k"}, []),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_vendor_is_asked_only_with_the_machine_and_its_key(
    of: str, variables: dict[str, str], urls: list[str], first: bool
) -> None:
    own = environment(of, "https://proxy/")
    found = ways(own, variables) if first else ways({**own, **variables}, {})
    assert [ask.url for ask in found] == [f"https://proxy{url}" for url in urls]


@pytest.mark.parametrize(
    ("of", "variables", "url"),
    [
        ("runpod", {"RUNPOD_POD_ID": "p", "RUNPOD_API_KEY": "k"}, "https://api.runpod.io/"),
        ("vastai", {"CONTAINER_ID": "7", "CONTAINER_API_KEY": "k"}, "https://console.vast.ai/"),
    ],
)
def test_a_machine_asks_at_its_vendors_own_address_and_only_for_its_own_pod(
    of: str, variables: dict[str, str], url: str
) -> None:
    assert next(ways(environment(of), variables)).url.startswith(url)
    assert list(ways({**environment(of), "PODFLEET_POD": "pf-a-t2"}, variables)) == []


def test_without_a_way_to_end_the_machine_nothing_is_tried_again() -> None:
    pauses: list[float] = []
    assert not end_machine(environment("runpod"), pause=pauses.append)
    assert pauses == []


def test_a_machine_ends_by_the_first_way_that_its_vendor_allows(vendor: Vendor) -> None:
    variables = environment("runpod", vendor.url, RUNPOD_POD_ID="p", RUNPOD_API_KEY="k")
    vendor.answers = [(403, b""), (200, b'{"errors": ["later"]}'), (403, b""), (200, b"{}")]
    pauses: list[float] = []
    assert end_machine(variables, pause=pauses.append)
    assert pauses == [PAUSES_SECONDS[0]]
    assert [path for _, path, _, _ in vendor.asked] == ["/v2/pods/p", "/graphql"] * 2


def test_the_first_process_is_read_whatever_is_in_its_environment(tmp_path: Path) -> None:
    (tmp_path / "environ").write_bytes(b"A=1\0\0B=x=y\0")
    assert of_first_process(tmp_path / "environ") == {"A": "1", "B": "x=y"}
