"""The manager's Celery checks the certificate of its broker as strictly as every other client."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import pools
from kombu.exceptions import OperationalError
from kombu.utils.collections import eqhash
from redis.backoff import ExponentialWithJitterBackoff

from config.celery import App
from config.env import ROOT
from pods.base import redis_address
from tests.support.tls_server import TlsServer, tls_server


@pytest.fixture(autouse=True)
def _no_pauses_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialWithJitterBackoff, "compute", lambda *_: 0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsServer]:
    with tls_server(tmp_path) as made:
        yield made


def publish(address: str) -> None:
    url, use_ssl = redis_address.for_celery(redis_address.checked(address))
    app = App("podfleet-tls", set_as_current=False)
    app.conf.update(broker_url=url, broker_use_ssl=use_ssl, task_publish_retry=False)
    app.conf.broker_transport_options = {"socket_timeout": 2, "max_retries": 1, "interval_start": 0}
    with pytest.raises(OperationalError):  # this server refuses everything
        app.send_task("x", expires=5)
    # A pool knows its connections by their address alone, and lives as long as the process.
    key = eqhash(app.connection_for_write())
    for group in (pools.connections, pools.producers):
        group.pop(key, None)


def ping(address: str) -> None:
    client = redis.Redis.from_url(redis_address.checked(address), socket_timeout=2)
    with pytest.raises(redis.RedisError):
        client.ping()


# The words that follow the address, and whether the server is then trusted.
CASES = [
    ("", False),
    ("?ssl_cert_reqs=required", False),
    ("?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=false", False),
    ("?ssl_ca_certs={pem}", True),
    ("?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={pem}", True),
    ("?ssl_cert_reqs=none", True),
    ("?ssl_cert_reqs=CERT_NONE", True),
]


@pytest.mark.parametrize(("words", "trusted"), CASES)
def test_celery_gives_nothing_to_a_server_that_it_cannot_verify(
    server: TlsServer, words: str, trusted: bool
) -> None:
    address = f"rediss://:secret@127.0.0.1:{server.port}/0{words.format(pem=server.certificate)}"
    ping(address)
    by_others = bool(server.received)
    server.received.clear()
    publish(address)
    assert bool(server.received) == by_others == trusted


def test_a_certificate_for_another_host_is_refused(server: TlsServer) -> None:
    words = f"?ssl_ca_certs={server.certificate}"
    publish(f"rediss://:secret@localhost:{server.port}/0{words}")
    assert server.received == []
    publish(f"rediss://:secret@localhost:{server.port}/0{words}&ssl_check_hostname=false")
    assert server.received


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://:s@h/3", "rediss://:s@h/3 {'ssl_cert_reqs': <VerifyMode.CERT_REQUIRED: 2>}"),
        ("redis://:s@h/3?socket_timeout=4", "redis://:s@h/3 None"),
    ],
)
def test_the_settings_give_celery_the_options_of_redis_url(
    url: str, shown: str, tmp_path: Path
) -> None:
    code = (
        "from config import celery_app as app; import django; django.setup(); "
        "print(app.conf.broker_url, app.conf.broker_use_ssl)"
    )
    env = {**os.environ, "REDIS_URL": url, "PODFLEET_VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == shown


def test_celery_trusts_the_authority_of_the_installation(tmp_path: Path) -> None:
    code = "from config import celery_app as app; print(app.conf.broker_use_ssl['ssl_ca_certs'])"
    given = {"REDIS_URL": "rediss://:s@h/3", "PODFLEET_REDIS_CA": "/ca.pem"}
    env = {**os.environ, **given, "PODFLEET_VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "/ca.pem"


def test_celery_and_flower_are_given_no_password_but_that_of_the_broker(tmp_path: Path) -> None:
    code = (
        "import json; from types import SimpleNamespace; from celery.worker import control; "
        "from config import celery_app as app; "
        "print(json.dumps(control.conf(SimpleNamespace(app=app), with_defaults=True), default=str))"
    )
    env = {
        **os.environ,
        "REDIS_URL": "redis://:hunter1@h/0?ssl_password=hunter2",
        "DATABASE_URL": "postgres://u:hunter3@h/db",
        "PODFLEET_SECRET_KEY": "hunter4" * 8,
        "PODFLEET_FIELD_KEYS": "hunter5" * 8,
        "PODFLEET_VAR_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    shown = json.loads(done.stdout)
    assert shown["broker_url"] == "redis://:********@h:6379/0"
    assert shown["task_acks_late"] is True
    assert "hunter" not in done.stdout
