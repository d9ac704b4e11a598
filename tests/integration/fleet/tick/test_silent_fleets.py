"""A fleet with items waiting that gets no pod says why, and tells somebody after ten minutes."""

from decimal import Decimal

import pytest

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet, Limits
from pods.base import clock
from pods.models import Account, Pod
from tests.support.rigs.runpod_rig import Rig, runpod
from tests.support.rigs.vastai_rig import vast
from tests.support.stage import Stage

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
H100 = {"gpu_types": ["H100 SXM"]}


def a_stage(rig: Rig, redis_url: str, **fleet: object) -> Stage:
    rig.server.checks.clear()
    stage = Stage(rig, redis_url, "runpod", **{"max_instances": 2, **fleet})
    stage.enqueue(1000)
    return stage


def alerted(stage: Stage, *, minutes: float = 12) -> dict[str, str]:
    """The open alerts after some minutes, in which no pod was got."""
    stage.run(minutes=minutes)
    assert not Pod.objects.exclude(external_id=None).exists()
    return stage.open_alerts()


def test_a_gpu_that_no_offer_has_is_named_in_the_sentence_and_in_an_alert(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url, offer_query={"gpu_types": ["L4"]})
        rig.state.catalog[:] = [g for g in rig.state.catalog if "L4" not in g.name.split()]
        found = alerted(stage)
        assert "GPU L4" in stage.last.sentence
        assert f"{stage.account}: " in found["no_pods"]
        assert "1,000 items waiting for 10 min, and no pod has a machine" in found["no_pods"]
        assert list(found) == ["no_pods"]


def test_the_alert_comes_after_ten_minutes_and_ends_with_a_machine(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url, max_hourly_usd="0.0001")
        assert "no_pods" not in alerted(stage, minutes=8)
        assert "no_pods" in alerted(stage, minutes=4)
        operating.edit(Fleet.objects.get(), {"max_hourly_usd": None}, by="ann")
        stage.run(minutes=2)
        assert "no_pods" not in stage.open_alerts()


def test_a_market_without_the_wanted_gpu_is_an_alert_with_the_reason(redis_url: str) -> None:
    with vast(slots=0) as rig, clock.use(rig.clock):
        with rig.server.lock:
            for n in range(60):
                usd = str(Decimal("0.05") + Decimal(n) / 10000)
                rig.emulator.market.add_slot(gpu_name="GTX 1070", usd=usd, gpu_ram=8192)
        rig.server.checks.clear()
        stage = Stage(rig, redis_url, "vastai", max_instances=2, offer_query=H100)
        stage.enqueue(1000)
        found = alerted(stage)
        assert list(found) == ["no_pods"]
        assert stage.last.binding == "no_offers"


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ({"max_hourly_usd": "0.0001"}, "is committed"),
        ({"daily_budget_usd": "0.0001"}, "today's budget"),
        ({"total_budget_usd": "0.0001"}, "the total budget"),
        ({"max_instances": 0}, "Max pods is 0"),
    ],
)
def test_a_limit_that_leaves_no_pod_at_all_is_told(
    redis_url: str, fleet: dict[str, object], words: str
) -> None:
    with runpod() as rig, clock.use(rig.clock):
        assert words in alerted(a_stage(rig, redis_url, **fleet))["no_pods"]


def test_a_limit_of_the_installation_is_told_too(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        limits = Limits.get()
        limits.max_instances = 0
        limits.save()
        assert "the installation's 0 places" in alerted(stage)["no_pods"]


def test_accounts_that_cannot_be_used_are_told_one_by_one(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        stage.survey()
        Account.objects.update(enabled=False)
        found = alerted(stage)
        assert f"{stage.account}: the account is disabled" in found["no_pods"]
        stage.fleet.accounts.clear()
        assert "has no account to rent from" in alerted(stage, minutes=1)["no_pods"]


def test_a_vendor_that_refuses_every_create_is_told_with_its_last_answer(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        stage.survey()
        stage.surveys = False
        for gpu in rig.state.catalog:
            gpu.stock.update(dict.fromkeys(gpu.stock, 0))
        found = alerted(stage)
        assert Pod.objects.filter(retire_rule="no_capacity").exists()
        assert f"{stage.account}: NoCapacity: " in found["no_pods"]


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.STOP_ALL])
def test_what_an_operator_asked_for_is_not_told(redis_url: str, mode: Mode) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        operating.set_mode(Fleet.objects.get(), mode, by="ann")
        assert alerted(stage) == {}


def test_a_backlog_that_cannot_be_read_for_ten_minutes_is_told(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        stage.redis.delete(stage.fleet.stream)
        stage.redis.set(stage.fleet.stream, "not a stream")
        found = alerted(stage)
        assert list(found) == ["backlog_unknown"]
        assert "unknown for 10 min: " in found["backlog_unknown"]
