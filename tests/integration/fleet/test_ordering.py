"""How many GPUs a pod has and what its image runs: checked at the edge, ordered, priced, replaced."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from fleet import operating
from fleet.models import Fleet
from fleet.pages.overview import overview
from fleet.tick import requesting, ticking, wishes
from pods.accounts import surveying
from pods.base import clock
from pods.models import Account, Pod
from pods.states import READY
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.rigs.runpod_rig import Rig, runpod
from tests.support.rigs.vastai_rig import vast
from tests.support.stage import Stage

pytestmark = pytest.mark.django_db
START = "python -m pods.agent --log 'two words'"


def rented(**options: Any) -> list[Account]:
    return [an_account("docker", options={"gpus": 4, "gpus_per_pod": 1, **options})]


def an_edit(fleet: Fleet, **changes: Any) -> Fleet:
    return operating.edit(fleet, changes, by="ann")


@pytest.mark.parametrize(
    ("options", "changes", "field", "says"),
    [
        ({}, {"gpu_count": 5}, "gpu_count", r"has 4 GPUs; use 1 to 4 there"),
        (
            {"gpus": 0, "gpus_per_pod": 0},
            {"gpu_count": 2},
            "gpu_count",
            "has no GPUs; say how many",
        ),
        ({}, {"gpu_count": 0}, "gpu_count", "greater than or equal to 1"),
        ({}, {"gpu_count": 9}, "gpu_count", "less than or equal to 8"),
        ({}, {"start_command": "python -c 'x"}, "start_command", "No closing quotation"),
        ({}, {"start_command": "a\nb"}, "start_command", "give one line such as"),
        ({}, {"start_command": "''"}, "start_command", "it has no words"),
        ({}, {"start_command": "x" * 4001}, "start_command", "at most 4000 characters"),
    ],
)
def test_what_no_account_can_give_is_refused_with_what_would_be_right(
    redis_url: str, options: Any, changes: Any, field: str, says: str
) -> None:
    fleet = a_fleet(accounts=rented(**options), image="you/worker:1", redis_route="tunnel")
    with pytest.raises(ValidationError, match=says) as refused:
        an_edit(fleet, **changes)
    assert list(refused.value.error_dict) == [field]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gpu_count": 2}, "gives its pods no GPUs of their own; use 1 there"),
        ({"start_command": START}, "the pods of local accounts have none; leave it empty"),
    ],
)
def test_this_machine_gives_no_gpus_and_runs_no_image(
    redis_url: str, changes: Any, says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        an_edit(a_fleet(), **changes)


def test_a_start_command_beside_code_is_refused_whichever_comes_second(
    redis_url: str, tmp_path: Any
) -> None:
    fleet = a_fleet(accounts=rented(), image="python:3.12", redis_route="tunnel")
    Fleet.objects.update(bundle="ab" * 32)
    with pytest.raises(ValidationError, match="the fleet has code of its own"):
        an_edit(Fleet.objects.get(), start_command=START)
    Fleet.objects.update(bundle="", start_command=START)
    script = tmp_path / "mine.py"
    script.write_text("def handle(batch):\n    return batch\n")
    with pytest.raises(CommandError, match="leave the start command empty"):
        call_command("fleet", "set", fleet.name, "--script", str(script), stdout=StringIO())
    assert not Fleet.objects.get().bundle


def test_the_command_the_page_and_the_next_order_have_them(
    redis_url: str, admin_client: Client
) -> None:
    fleet = a_fleet(accounts=rented(), image="you/worker:1", redis_route="tunnel")
    words = ("--gpu-count", "2", "--start-command", START)
    call_command("fleet", "set", fleet.name, *words, stdout=StringIO())
    fleet.refresh_from_db()
    assert (fleet.gpu_count, fleet.start_command) == (2, START)
    typed = fields_of(fleet)
    assert (typed["gpu_count"], typed["start_command"]) == (2, START)
    assert "GPUs of a pod" in admin_client.get(page_of(fleet)).content.decode()
    out = StringIO()
    call_command("fleet", "export", fleet.name, stdout=out)
    assert "gpu_count = 2" in out.getvalue()
    assert requesting.template(fleet).start_command == START
    assert wishes.query_of(wishes.wanted(fleet)).gpu_count == 2
    edit = fleet.history.first()
    assert edit.history_change_reason.startswith("set GPUs of a pod, Start command by ")


def test_an_upgrade_keeps_the_template_and_a_start_command_makes_a_new_one(redis_url: str) -> None:
    fleet = a_fleet()
    plain = requesting.template_hash(fleet)
    fleet.gpu_count = 2
    assert requesting.template_hash(fleet) == plain
    fleet.start_command = START
    assert requesting.template_hash(fleet) != plain


def test_pods_with_another_start_command_are_replaced_after_a_trial(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = Stage(rig, redis_url, "runpod", max_instances=2, spawn_per_tick=2)
        stage.enqueue(1_000)
        stage.behave = lambda pod: stage.beat(pod, done=10, rate=1.0)
        stage.run(minutes=3)
        before = set(Pod.objects.values_list("pk", flat=True))
        assert {pod.request.get("args") for pod in rig.state.living()} == {None}
        Fleet.objects.update(start_command=START)
        stage.run(minutes=12)
        new = Pod.objects.filter(state=READY.value).exclude(pk__in=before)
        assert new.count() == 2
        assert not Pod.objects.billable().filter(pk__in=before).exists()
        assert len({pod.request["args"] for pod in rig.state.living()}) == 1


@pytest.mark.parametrize("vendor", ["runpod", "vastai"])
def test_a_fleet_rents_pods_with_two_gpus_at_the_price_of_two(redis_url: str, vendor: str) -> None:
    with runpod() if vendor == "runpod" else vast() as rig, clock.use(rig.clock):
        if vendor == "vastai":
            rig.emulator.market.add_slot(usd="0.9", num_gpus=2)
        stage = Stage(rig, redis_url, vendor, gpu_count=2, max_instances=1)
        wishes.keep_wishes(stage.account)
        stage.survey()
        stage.enqueue(100)
        ticking.tick_fleet(stage.fleet.pk)
        [pod] = Pod.objects.all()
        offers = {o["gpu_count"] for o in stage.account.surveys.get().offers}
        assert (pod.gpu_count, offers) == (2, {2})
        assert pod.hourly_usd >= Decimal("0.32")
        stage.run(minutes=2)
        machine = rig.provider.status(str(Pod.objects.get().external_id))
        assert machine.gpu_count == 2
        assert overview().cards[0].trouble == ""


def test_a_price_list_of_one_gpu_does_not_answer_a_fleet_that_wants_two(
    redis_url: str, rig: Rig
) -> None:
    with clock.use(rig.clock):
        account = an_account("runpod")
        surveying.survey_account(account, connect=lambda _: rig.provider)
        fleet = a_fleet(accounts=[account], image="you/worker:1", gpu_count=2)
        wishes.keep_wishes(account)
        [survey] = account.surveys.all()
        assert surveying.words_of(survey).startswith("GPUs of a pod 2")
        a_pod(fleet, READY, gpu_type="RTX 4090", gpu_count=1, done=50, rate=5.0)
        ticking.tick_fleet(fleet.pk)
        assert Pod.objects.filter(fleet=fleet).count() == 1
