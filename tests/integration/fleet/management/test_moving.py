"""An edit that gives a fleet another backlog says what is left in the one from before."""

import pytest
from django.test import Client
from redis import Redis

from fleet import operating
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import a_fleet
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("items", "said"), [(1, "1 item is left in old;"), (2, "2 items are left in old;"), (0, "")]
)
def test_the_command_says_what_is_left_in_the_stream_from_before(
    redis_url: str, capsys: pytest.CaptureFixture[str], items: int, said: str
) -> None:
    fleet = a_fleet(name="emb", stream="old")
    operating.make_group(fleet)
    client = Redis.from_url(redis_url)
    for n in range(items):
        client.xadd("old", {"id": n})
    run("set", "emb", "--stream", "new")
    assert (said in capsys.readouterr().err) if said else not capsys.readouterr().err


def test_the_command_says_that_nobody_knows_what_a_silent_server_has(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_fleet(name="emb", stream="old", backlog_url="redis://127.0.0.1:1/0")
    run("set", "emb", "--backlog-url", "")
    assert "nobody can say what is left in old: " in capsys.readouterr().err


def test_an_edit_of_something_else_says_nothing(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operating.make_group(a_fleet(name="emb", stream="old"))
    Redis.from_url(redis_url).xadd("old", {"id": 1})
    run("set", "emb", "--max-instances", "2")
    assert not capsys.readouterr().err


def test_the_page_says_it_too(admin_client: Client, redis_url: str) -> None:
    fleet = a_fleet(stream="old")
    operating.make_group(fleet)
    Redis.from_url(redis_url).xadd("old", {"id": 1})
    answer = admin_client.post(page_of(fleet), {**fields_of(fleet), "stream": "new"}, follow=True)
    assert "1 item is left in old;" in answer.content.decode()
