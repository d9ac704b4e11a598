"""The profile `public` of docker-compose.yml, as far as it can be run without an engine."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support.compose import filled, service
from tests.support.public_redis import UNPACKED, running_public_redis, server_with_tls
from tests.support.redis_clients import client_arguments

PASSWORD = "p@ss/w#rd:% and more of it"
# What .env has for the profile (.env.example), and what everybody must give.
PUBLIC = {
    "PODFLEET_PODS_REDIS_URL": "rediss://redis.example.com:6380/0",
    "REDIS_URL": "rediss://valkey-public:6380/0",
    "REDIS_USERNAME": "podfleet",
    "PODFLEET_REDIS_CA": "/app/var/redis-public/authority.pem",
}
GIVEN = {"POSTGRES_PASSWORD": PASSWORD, "REDIS_PASSWORD": PASSWORD, "PODFLEET_SECRET_KEY": "k" * 50}
GIVEN["PODFLEET_FIELD_KEYS"] = "f" * 50
PRINT = (
    "from config.env import env; e = env(); print(e.redis_url.get_secret_value(), "
    "e.database_url.get_secret_value(), e.pods_redis_url)"
)


def environment(env: Mapping[str, str], var: Path) -> dict[str, str]:
    """What the processes of the manager get: .env, and what Compose adds."""
    added = {n: filled(str(v), env) for n, v in service("migrate")["environment"].items()}
    keep = {
        n: v for n, v in os.environ.items() if not n.startswith(("PODFLEET_", "REDIS_", "DATABA"))
    }
    return {**keep, **env, **added, "PODFLEET_VAR_DIR": str(var)}


@pytest.mark.parametrize(("more", "host"), [({}, "valkey"), (PUBLIC, "valkey-public")])
def test_any_password_reaches_the_servers_as_it_is(
    more: dict[str, str], host: str, tmp_path: Path
) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PRINT], cwd=ROOT, env=environment({**GIVEN, **more}, tmp_path),
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    read = client_arguments(printed[0])
    assert (read["host"], read["password"]) == (host, PASSWORD)
    assert read.get("username") == more.get("REDIS_USERNAME")
    assert read.get("ssl_ca_certs") == more.get("PODFLEET_REDIS_CA")
    assert printed[1].startswith("postgres://podfleet:p%40ss%2Fw%23rd%3A%25")
    assert "p@ss" not in printed[-1]


def test_the_example_has_what_the_profile_needs() -> None:
    example = (ROOT / ".env.example").read_text()
    assert "# COMPOSE_PROFILES=public\n" in example
    for name, value in PUBLIC.items():
        assert f"# {name}={value}\n" in example
    for name in ("redis-files", "valkey-public"):
        assert service(name)["profiles"] == ["public"]
    assert "valkey-public" in service("migrate")["depends_on"]


def test_the_first_service_writes_the_files_that_the_server_reads(tmp_path: Path) -> None:
    out, var = tmp_path / "redis-public", tmp_path / "var"
    _python, manage, *words = service("redis-files")["command"]
    assert f"--out=/{out.name}" in words
    words[words.index(f"--out=/{out.name}")] = f"--out={out}"
    env = environment({**GIVEN, **PUBLIC}, var)
    done = subprocess.run(
        [sys.executable, manage, *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the authority that pods will trust" in done.stdout
    assert sorted(file.name for file in out.iterdir()) == [
        "authority.pem",
        "redis.conf",
        "server.pem",
    ]
    assert (var / "redis-public" / "authority.pem").read_bytes() == (
        out / "authority.pem"
    ).read_bytes()
    lines = (out / "redis.conf").read_text().splitlines()
    assert 'tls-cert-file "/run/redis/server.pem"' in lines
    assert 'dir "/data"' in lines
    [start] = service("valkey-public")["command"]
    assert "cp /redis-public/* /run/redis/" in start
    assert start.endswith("/run/redis/redis.conf")

    short = environment({**GIVEN, **PUBLIC, "REDIS_PASSWORD": "short"}, var)
    done = subprocess.run(
        [sys.executable, manage, *words],
        cwd=ROOT,
        env=short,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "REDIS_PASSWORD has fewer than 20 characters" in done.stderr


def test_the_health_check_logs_in_over_tls(tmp_path: Path) -> None:
    program = server_with_tls()
    client = program.with_name("redis-cli") if program else None
    if client is None or not client.exists():
        pytest.skip("needs a redis-server and a redis-cli with TLS")
    with running_public_redis(tmp_path) as running:
        [_, check] = service("valkey-public")["healthcheck"]["test"]
        check = filled(check, {"VALKEY_CLI": str(client), "REDIS_PUBLIC_PORT": str(running.port)})
        check = check.replace("/run/redis", str(running.folder / "server"))
        library = str(UNPACKED / "lib" / "x86_64-linux-gnu")
        for password, code in ((PASSWORD, 0), ("wrong", 1)):
            env = {**os.environ, "REDISCLI_AUTH": password, "LD_LIBRARY_PATH": library}
            done = subprocess.run(
                ["sh", "-c", check], env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == code, done
