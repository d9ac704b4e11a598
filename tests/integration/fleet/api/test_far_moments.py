"""Moments near the years 1 and 9999, which have no time in some zones, are refused by the API."""

import base64
import json

import pytest

from tests.support.api import ApiClient, a_client
from tests.support.factories import a_fleet, an_alert

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
LAST = "9999-12-31T23:59:00-12:00"
FIRST = "0001-01-01T00:00:00+12:00"


@pytest.fixture
def client(redis_url: str) -> ApiClient:
    return a_client("operator", name="ann")


@pytest.mark.parametrize(
    ("moment", "right"),
    [
        (LAST, "give a moment before"),
        ("9999-12-31T23:59:00Z", "give a moment before"),
        (FIRST, "give a moment after"),
    ],
)
def test_a_far_moment_is_refused_at_its_field(client: ApiClient, moment: str, right: str) -> None:
    alert = an_alert(a_fleet(name="emb"))
    etag = client.get("/fleets/emb")["ETag"]
    answers = {
        "drain_by": client.patch(
            "/fleets/emb", {"goal": "deadline", "drain_by": moment}, if_match=etag
        ),
        "until": client.post(
            "/fleets/emb/holds", {"pods": 1, "until": moment, "because": "a demo"}
        ),
    }
    snoozed = client.post(f"/alerts/{alert.pk}/snooze", {"until": moment})
    for field, answer in [*answers.items(), ("until", snoozed)]:
        assert answer.status_code == 422, answer.content
        [said] = answer.json()["errors"][field]
        assert right in said


@pytest.mark.parametrize("moment", [LAST, FIRST])
def test_a_cursor_with_a_far_moment_is_none_of_this_list(client: ApiClient, moment: str) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([moment, 1]).encode()).decode().rstrip("=")
    answer = client.get(f"/decisions?cursor={cursor}")
    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["cursor"])
