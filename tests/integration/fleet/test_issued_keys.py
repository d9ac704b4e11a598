"""A fleet with a role gives its pods keys that end by themselves, and never its own keys."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from fleet import keeping_secrets, operating, resealing
from fleet.alerts import reconciling
from fleet.datasets import access
from fleet.models import Alert, Dataset, DatasetFile, Fleet, IssuedKeys
from fleet.secrets import channel, issuing, renewing
from fleet.tick import ticking
from pods.agent.protocol import Keys
from pods.base.clock import utcnow
from tests.support.factories import a_fleet
from tests.support.fixtures import client as client
from tests.support.sts_server import (
    ACCESS,
    DENIED,
    DOWN,
    ENDED,
    NAIVE,
    SECRET,
    StsServer,
    sts_server,
)

pytestmark = pytest.mark.django_db
ROLE = "arn:aws:iam::123456789012:role/pods"


@pytest.fixture
def sts() -> Iterator[StsServer]:
    with sts_server() as server:
        yield server


@pytest.fixture
def fleet(redis_url: str, sts: StsServer, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    for name in issuing.LONG_LIVED:
        monkeypatch.delenv(name, raising=False)
    made: Fleet = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(made)
    set_all(
        made, AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET, AWS_ENDPOINT_URL_STS=sts.url,
        AWS_REGION="eu-west-1", HF_TOKEN="of-the-handler",
    )  # fmt: skip
    return made


def set_all(fleet: Fleet, **values: str) -> None:
    for name, value in values.items():
        keeping_secrets.set_secret(fleet, name, value, by="ann")


def of_pods(client: "redis.Redis") -> dict[str, str]:
    raw: Any = client.hgetall(Keys("emb").secrets)
    found = {name.decode(): value.decode() for name, value in raw.items()}
    return {n.removeprefix("env:"): v for n, v in found.items() if n != "version"}


def later(**more: float) -> None:
    """Let the keys, and the last failure, be older by so much."""
    row, step = IssuedKeys.objects.get(), timedelta(**more)
    for name in ("issued_at", "expires_at", "failed_at", "failing_since"):
        if (at := getattr(row, name)) is not None:
            setattr(row, name, at - step)
    row.save()


def alerts() -> list[tuple[str, str]]:
    reconciling.reconcile_alerts()
    rows = Alert.objects.open().filter(cause="keys_not_issued")
    return [(alert.severity, alert.text) for alert in rows]


def test_pods_get_issued_keys_as_soon_as_the_fleet_has_a_role(
    fleet: Fleet, sts: StsServer, client: "redis.Redis"
) -> None:
    assert of_pods(client)["AWS_SECRET_ACCESS_KEY"] == SECRET
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE)
    assert of_pods(client) == {
        "AWS_ACCESS_KEY_ID": "ASIAISSUED1",
        "AWS_SECRET_ACCESS_KEY": "issued-secret-1",
        "AWS_SESSION_TOKEN": "issued+token/1==",
        "AWS_REGION": "eu-west-1",
        "HF_TOKEN": "of-the-handler",
    }
    asked = sts.asked[-1]
    assert (asked["RoleArn"], asked["DurationSeconds"]) == (ROLE, "3600")
    assert asked["RoleSessionName"] == "podfleet-emb"
    assert "Policy" not in asked  # nobody knows what such a handler reads
    row = IssuedKeys.objects.get()
    assert "issued-secret" not in row.sealed_value
    assert access.missing(fleet, ["s3://bucket/in/"]) == ""
    keeping_secrets.remove_secret(fleet, "AWS_ASSUME_ROLE_ARN", by="ann")
    assert of_pods(client)["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert not IssuedKeys.objects.exists()


def test_a_run_renews_keys_at_half_of_their_life_and_a_tick_never_asks(
    fleet: Fleet, sts: StsServer, client: "redis.Redis"
) -> None:
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE, AWS_ASSUME_ROLE_SECONDS="900")
    issued = len(sts.issued)
    later(seconds=440)
    assert renewing.renew_keys() == 0
    assert len(sts.issued) == issued
    before = client.hget(Keys("emb").secrets, "version")
    later(seconds=15)
    ticking.tick_fleet(fleet.pk)
    assert len(sts.issued) == issued
    assert renewing.renew_keys() == 1
    assert of_pods(client)["AWS_ACCESS_KEY_ID"] == f"ASIAISSUED{issued + 1}"
    assert client.hget(Keys("emb").secrets, "version") != before
    assert renewing.renew_keys() == 0
    assert len(sts.issued) == issued + 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (DOWN, "refuses with HTTP 503: no reason"),
        (DENIED, "AccessDenied .* is not authorized to perform: sts:AssumeRole & more"),
        (NAIVE, "without keys or without their end"),
        (ENDED, "compare the clocks"),
    ],
)
def test_pods_keep_their_keys_while_sts_fails_and_an_alert_says_so(
    fleet: Fleet, sts: StsServer, client: "redis.Redis", fault: str, why: str
) -> None:
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE)
    have = of_pods(client)
    sts.fault = fault
    later(minutes=31)
    renewing.renew_keys()
    assert of_pods(client) == have
    assert alerts() == []  # it may be over in a minute
    later(minutes=6)
    asked = len(sts.asked)
    renewing.renew_keys()
    assert len(sts.asked) == asked + 1
    [(severity, text)] = alerts()
    assert severity == "warning"
    assert "the pods' keys end at" in text
    assert re.search(why, text)
    assert SECRET not in text
    later(minutes=30)
    [(severity, text)] = alerts()
    assert (severity, "the pods' keys ended at" in text) == ("critical", True)
    assert of_pods(client) == have
    sts.fault = ""
    later(minutes=1)
    renewing.renew_keys()
    assert alerts() == []
    assert of_pods(client) != have


def test_pods_never_get_the_long_lived_keys_where_none_were_issued(
    fleet: Fleet, sts: StsServer, client: "redis.Redis"
) -> None:
    sts.fault = DENIED
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE)
    assert of_pods(client) == {"AWS_REGION": "eu-west-1", "HF_TOKEN": "of-the-handler"}
    [(severity, text)] = alerts()
    assert severity == "critical"
    assert "the pods have no keys" in text
    set_all(fleet, AWS_ENDPOINT_URL_STS="http://127.0.0.1:1")
    assert "does not answer" in IssuedKeys.objects.get().error
    keeping_secrets.remove_secret(fleet, "AWS_SECRET_ACCESS_KEY", by="ann")
    assert "no keys to ask STS with" in IssuedKeys.objects.get().error
    IssuedKeys.objects.all().delete()  # also if the row is lost
    channel.keep(fleet)
    assert not {*issuing.LONG_LIVED} & of_pods(client).keys()


def test_keys_of_a_dataset_are_for_its_input_and_its_sink(fleet: Fleet, sts: StsServer) -> None:
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE)
    dataset = Dataset.objects.create(
        fleet=fleet, sink="s3://b/out/", part_format="parquet", fed_at=utcnow()
    )
    DatasetFile.objects.create(
        dataset=dataset, key="k", url="s3://b/in/a.parquet", size=1, rows=1, format="parquet",
        planned_at=utcnow(),
    )  # fmt: skip
    renewing.renew_keys()
    assert '"arn:aws:s3:::b/in/*"' in sts.asked[-1]["Policy"]
    asked = len(sts.asked)
    renewing.renew_keys()
    assert len(sts.asked) == asked


def test_issued_keys_are_resealed_and_asked_for_again_where_the_key_is_gone(
    fleet: Fleet, sts: StsServer, settings: Any, client: "redis.Redis"
) -> None:
    set_all(fleet, AWS_ASSUME_ROLE_ARN=ROLE)
    assert f"the issued keys of {fleet.name}" in {what for what, *_ in resealing._stored()}
    IssuedKeys.objects.update(sealed_value="fernet:not-ours")
    client.delete(Keys("emb").secrets)
    ticking.tick_fleet(fleet.pk)  # it says it
    assert of_pods(client) == {}
    renewing.renew_keys()
    assert of_pods(client)["AWS_ACCESS_KEY_ID"] == "ASIAISSUED2"
