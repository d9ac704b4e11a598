"""What the rows of accounts, surveys and pods say to people and to the next call."""

from datetime import timedelta
from typing import Any

import pytest

from pods.accounts import editing, machine_logs, surveying
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, Survey
from pods.providers.base import OfferQuery
from pods.providers.errors import AuthFailed, ProviderError, Unavailable
from pods.rules import PodRule
from pods.states import TERMINATING
from tests.support.factories import NOON, a_pod, an_account
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("row", "given", "key"),
    [
        ({"secret_ref": "env:KEY"}, {}, "the key from env:KEY"),
        ({}, {}, "a call without a key"),
        ({"sealed_secret": "x"}, {}, "the key from the stored secret"),
        ({"sealed_secret": "x"}, {"sealed_secret": "y"}, "the key that was given"),
        ({}, {"sealed_secret": "of the other"}, "the key that was given"),
    ],
)
def test_a_refusal_says_which_key_was_refused(
    row: dict[str, Any], given: dict[str, Any], key: str
) -> None:
    an_account(name="other", sealed_secret="of the other")
    account = an_account(**row)
    for name, value in given.items():
        setattr(account, name, value)
    refusing = OneMachine(Pod(), fails={"list": AuthFailed("no")})
    tried = editing.try_account(account, connect=refusing.connect)
    assert (tried.good, tried.says) == (False, f"local refuses {key}: no")


def test_a_wish_says_only_what_it_asks_for() -> None:
    survey = Survey(query={"gpu_types": ["H100", "A100"], "disk_gb": 40, "gpu_count": 1})
    assert surveying.words_of(survey) == "gpu_types H100/A100, disk_gb 40"


def test_the_names_of_all_stored_offers_are_known_without_empty_ones() -> None:
    account = an_account(offers=[{"gpu_type": "A100"}, {"gpu_type": ""}, {}])
    Survey.objects.create(account=account, digest="d", query={}, offers=[{"gpu_type": "H100"}])
    assert surveying.names_seen("gpu_type") == {"A100", "H100"}


@pytest.mark.parametrize(
    ("row", "disk_gb", "asks"),
    [
        ({}, 20, False),
        ({"offers_until": NOON}, 20, True),
        ({"offers_until": None}, 20, True),
        ({"survey_partial": "a page failed"}, 20, True),
        ({}, 19, True),
    ],
)
def test_a_wish_is_asked_for_unless_the_whole_list_is_known(
    time: SteppedClock, row: dict[str, Any], disk_gb: int, *, asks: bool
) -> None:
    account = an_account(**{"offers_until": NOON + timedelta(seconds=1), **row})
    surveying.keep_wishes(account, [OfferQuery(disk_gb=disk_gb, gpu_count=2)])
    assert account.surveys.exists() is asks


FAILED: dict[str, Any] = {"failed_at": NOON, "retire_rule": PodRule.NEVER_BOOTED.value}


@pytest.mark.parametrize(
    ("row", "asks"),
    [
        (FAILED, True),
        ({**FAILED, "failed_at": None}, False),
        ({**FAILED, "done": 1}, False),
        ({**FAILED, "done": 1, "retire_rule": PodRule.AGENT_FAILED.value}, True),
        ({**FAILED, "retire_rule": PodRule.ABSENT.value}, True),
        ({**FAILED, "retire_rule": PodRule.ABSENT.value, "interruptible": True}, False),
        ({**FAILED, "interruptible": True}, True),
        ({**FAILED, "output_asked_at": NOON}, False),
        ({**FAILED, "external_id": None}, False),
    ],
)
def test_the_output_is_asked_for_once_where_it_may_say_why_a_pod_failed(
    time: SteppedClock, row: dict[str, Any], *, asks: bool
) -> None:
    pod, other = a_pod(state=TERMINATING, **row), a_pod(state=TERMINATING)
    before = pod.output_asked_at
    vendor = OneMachine(pod)
    machine_logs.keep_last_output(pod, connect=vendor.connect)
    pod.refresh_from_db()
    other.refresh_from_db()
    assert vendor.asked == (["logs"] if asks else [])
    assert pod.output_asked_at == (NOON if asks else before)
    assert other.output_asked_at is None


@pytest.mark.parametrize("error", [Unavailable("no answer"), None])
def test_what_is_kept_of_the_output_has_no_values_of_the_handlers_environment(
    time: SteppedClock, error: ProviderError | None
) -> None:
    pod = a_pod(
        state=TERMINATING, handler_env={"WORD": "confidential", "API_KEY": "k3y-of-it"}, **FAILED
    )
    vendor = OneMachine(pod, output="it said confidential and k3y-of-it")
    vendor.fails = {} if error is None else {"logs": error}
    machine_logs.keep_last_output(pod, connect=vendor.connect)
    pod.refresh_from_db()
    assert pod.last_output == ("" if error else "it said *** and ***")
    assert Account.objects.get().failures == 0
    if error is None:
        assert machine_logs.logs_of(pod, connect=vendor.connect) == ("it said confidential and ***")
