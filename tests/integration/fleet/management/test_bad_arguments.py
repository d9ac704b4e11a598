"""Any argument is accepted, or refused with a message; never a traceback."""

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleet.models import Fleet
from tests.support.factories import a_fleet

OPTIONS = (
    *("--max-instances", "--target-depth-per-pod", "--max-hourly-usd", "--idle-seconds"),
    *("--stream", "--handler", "--handler-env", "--tick-seconds", "--batch-size"),
)
ODD = (
    *("", " ", "\0", "a\0b", "9" * 30, "-" + "9" * 30, "NaN", "1e400", "x" * 3000, "{", "[]", "٣"),
    *('{"a": 1}', '{"a": "\\u0000"}', "../..", "--", "-1", "0", "os:system", "\u202e"),
)
typed = st.one_of(st.sampled_from(ODD), st.text(max_size=20))


class Undone(Exception):
    """Rolls back what an example wrote, so that the next one starts without it."""


@pytest.mark.django_db
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=typed, option=st.sampled_from(OPTIONS), value=typed)
@example(name="emb", option="--max-hourly-usd", value="NaN")
@example(name="emb", option="--max-instances", value="9" * 30)
@example(name="a\0b", option="--stream", value="s")
@example(name="emb", option="--handler-env", value='{"a": "\\u0000"}')
@example(name="emb", option="--handler-env", value="--")
def test_fleet_create_accepts_or_refuses_any_argument(
    redis_url: str, name: str, option: str, value: str
) -> None:
    with pytest.raises((CommandError, SystemExit, Undone)):
        create_and_undo("--handler", "a:b", f"{option}={value}", "--", name)


def create_and_undo(*words: str) -> None:
    with transaction.atomic():
        call_command("fleet", "create", *words)
        raise Undone


@pytest.mark.django_db
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("verb", ["show", "next", "pause", "stop-all"])
def test_an_odd_name_is_refused_and_no_fleet_changes(redis_url: str, verb: str, name: str) -> None:
    a_fleet(name="emb")
    with pytest.raises((CommandError, SystemExit)):
        call_command("fleet", verb, "--", name)
    assert Fleet.objects.get().mode == "running"


@pytest.mark.django_db
def test_after_two_dashes_every_word_is_a_name() -> None:
    with pytest.raises(CommandError, match="--odd=--"):
        call_command("fleet", "show", "--", "--odd=--")


@pytest.mark.django_db
def test_set_says_where_accounts_are_changed_and_changes_nothing() -> None:
    a_fleet(name="emb", max_instances=2)
    with pytest.raises(CommandError, match="does not change accounts; do it on the fleet's page"):
        call_command("fleet", "set", "emb", "--account", "runpod", "--max-instances", "3")
    assert Fleet.objects.get().max_instances == 2
