"""The code of a fleet by the API: the checks of the command, and one change for one request."""

import pytest

from fleet import keeping_code
from fleet.code.packing import LARGEST_BYTES
from fleet.models import Fleet
from tests.support.api import ApiClient, a_client
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db
CODE = "/fleets/emb/code"
FIRST = b'# /// script\n# requires-python = ">=3.11"\n# ///\ndef handle(batch):\n    return batch\n'
OTHER = b"def handle(batch):\n    return [1]\n"


@pytest.fixture
def client(redis_url: str) -> ApiClient:
    a_fleet(name="emb", stream="emb", group="emb")
    return a_client("operator", name="ann")


def test_code_is_sent_read_and_rolled_back(client: ApiClient) -> None:
    none = client.get(CODE)
    assert (none.json()["version"], none.json()["present"]) == (0, None)
    sent = client.send("PUT", f"{CODE}?name=embed.py", FIRST, if_match=none["ETag"])
    assert sent.status_code == 200, sent.content
    body = sent.json()
    assert (body["version"], body["python"], body["requirements"]) == (1, ">=3.11", [])
    assert body["files"] == [{"name": "embed.py", "size": len(FIRST)}]
    assert (body["present"]["handler"], body["present"]["made_by"]) == (
        "embed:handle", "ann (API)",
    )  # fmt: skip
    assert Fleet.objects.get().bundle == body["present"]["digest"]
    stale = client.send("PUT", CODE, OTHER, if_match=none["ETag"])
    assert (stale.status_code, "read it again" in stale.json()["detail"]) == (412, True)
    second = client.send("PUT", CODE, OTHER, if_match=sent["ETag"])
    assert second.json()["version"] == 2
    back = client.post(f"{CODE}/rollback", if_match=second["ETag"], idempotency_key="back")
    again = client.post(f"{CODE}/rollback", if_match=second["ETag"], idempotency_key="back")
    assert back.json() == again.json()
    assert (back.json()["version"], back["ETag"]) == (1, sent["ETag"])
    assert client.get(CODE)["ETag"] == sent["ETag"]
    reasons = [h.history_change_reason or "" for h in Fleet.objects.get().history.all()]
    assert "code version 2 (embed.py) set by ann (API)" in reasons
    assert "code rolled back to version 1 by ann (API)" in reasons
    nothing = client.post(f"{CODE}/rollback", if_match="*")
    assert (nothing.status_code, "no code before" in nothing.json()["detail"]) == (422, True)


def test_a_lost_answer_changes_the_code_once(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_fleet: Fleet) -> bool:
        raise SystemError

    sent = {"if_match": client.get(CODE)["ETag"], "idempotency_key": "k1"}
    with monkeypatch.context() as patch:
        patch.setattr(keeping_code, "publish", dies)
        assert client.send("PUT", f"{CODE}?name=embed.py", FIRST, **sent).status_code == 500
    again = client.send("PUT", f"{CODE}?name=embed.py", FIRST, **sent)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert Fleet.objects.get().codes.count() == 1
    other = client.send("PUT", f"{CODE}?name=embed.py", OTHER, **sent)
    assert (other.status_code, "another request" in other.json()["detail"]) == (422, True)


def test_bad_code_is_refused_and_changes_nothing(client: ApiClient) -> None:
    for body, words, status, says in (
        (b"def handle(:\n", "name=embed.py", 422, "line 1"),
        (OTHER, "name=embed.py&handler=embed:nosuch", 422, "has no nosuch"),
        (OTHER, "name=embed.txt", 422, "is not a .py"),
        (b"", "name=embed.py", 422, "the file is empty"),
        (b"#" * (LARGEST_BYTES + 1), "name=embed.py", 413, "at most 50.0 MB"),
        (OTHER, "nam=embed.py", 422, "not known at this address"),
    ):
        answer = client.send("PUT", f"{CODE}?{words}", body, if_match="*")
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), says
    assert client.send("PUT", f"{CODE}?name=embed.py", OTHER).status_code == 428
    assert Fleet.objects.get().code_number == 0
    viewer = a_client("viewer")
    assert viewer.get(CODE).status_code == 200
    assert viewer.send("PUT", f"{CODE}?name=embed.py", OTHER, if_match="*").status_code == 403
    assert viewer.post(f"{CODE}/rollback", if_match="*").status_code == 403
