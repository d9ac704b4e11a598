"""The fleet's secrets on a pod: when the handler has them, and where nobody sees them."""

import subprocess
import time
from typing import Any

import psutil
import pytest
import redis

from pods.agent.protocol import SECRET_PREFIX, SECRETS_VERSION
from pods.agent.secrets import ASK_AGAIN_SECONDS, NOTHING, Secrets
from tests.support.processes import command_of, environment_of
from tests.support.rigs.agent_rig import Agents, Backlog

FIRST, SECOND = "hf_first-secret", "hf_second-secret"


def put(backlog: Backlog, version: str, **values: str) -> None:
    """Write the fleet's secrets as the manager does."""
    fields: Any = {SECRETS_VERSION: version}
    fields |= {SECRET_PREFIX + name: value for name, value in values.items()}
    pipe = backlog.client.pipeline()
    pipe.delete(backlog.keys.secrets)
    pipe.hset(backlog.keys.secrets, mapping=fields)
    pipe.execute()


def said(backlog: Backlog) -> list[list[str]]:
    """What the handlers answered: the secret at the import, the secret now, the process, the payload."""
    return [raw.decode().split(" ", 3) for raw in backlog.results().values()]


def shown(agent: "subprocess.Popen[bytes]") -> str:
    """What anybody on the machine sees of the agent's processes."""
    texts = []
    for process in [psutil.Process(agent.pid), *psutil.Process(agent.pid).children(recursive=True)]:
        texts += [command_of(process), repr(environment_of(process))]
    return "\n".join(texts)


def test_a_change_restarts_the_handler_between_batches_and_loses_no_item(
    backlog: Backlog, agents: Agents, until: Any
) -> None:
    put(backlog, "v1", HF_TOKEN=FIRST)
    agent = agents.start(backlog, "pod-a", "secret_handlers:slow", batch_size=4)
    entries = backlog.put_numbered(60)
    until(lambda: len(backlog.results()) > 10)
    assert FIRST not in shown(agent)
    put(backlog, "v2", HF_TOKEN=SECOND)
    until(lambda: len(backlog.results()) == 60)
    backlog.assert_each_has_one_result(entries)
    answers = said(backlog)
    assert {(at_import, now) for at_import, now, *_ in answers} == {
        (FIRST, FIRST),
        (SECOND, SECOND),
    }
    assert len({process for _, _, process, _ in answers}) == 2
    beat = until(lambda: backlog.heartbeat("pod-a"))
    assert (beat.failed, beat.dead, beat.failing, beat.note) == (0, 0, 0, "")
    assert SECOND not in shown(agent)


def test_a_handler_that_hears_of_a_change_keeps_its_process(
    backlog: Backlog, agents: Agents, until: Any
) -> None:
    put(backlog, "v1", HF_TOKEN=FIRST)
    agents.start(backlog, "pod-a", "secret_handlers:Hears", env={"HF_TOKEN": "of-the-pod"})
    backlog.put(b"1")
    until(lambda: len(backlog.results()) == 1)
    put(backlog, "v2", HF_TOKEN=SECOND)
    until(lambda: backlog.put(b"again") and said(backlog)[-1][0] == "1")
    put(backlog, "v3")  # removed: the variable of the process shows again
    until(lambda: backlog.put(b"again") and said(backlog)[-1][0] == "2")
    told = {(heard, at_import, now) for heard, at_import, now, _ in said(backlog)}
    assert told == {("0", FIRST, FIRST), ("1", FIRST, SECOND), ("2", FIRST, "of-the-pod")}
    assert len({answer[3].split()[0] for answer in said(backlog)}) == 1


def test_no_text_that_leaves_the_agent_holds_a_secret(
    backlog: Backlog, agents: Agents, until: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    put(backlog, "v1", HF_TOKEN=FIRST)
    agents.start(backlog, "pod-a", "secret_handlers:leaks", max_deliveries=1)
    backlog.put(*[b"x"] * 40)
    until(lambda: len(backlog.dead()) == 40)
    until(lambda: "items failed" in getattr(backlog.heartbeat("pod-a"), "note", ""))
    agents.kill_all()
    letter = backlog.dead()[0]
    assert letter[b"dead_error"] == b"ValueError: cannot log in with ***"
    assert b"***" in letter[b"dead_traceback"]
    everything = repr([backlog.dead(), backlog.client.hgetall(backlog.keys.pod("pod-a"))])
    out, err = capfd.readouterr()
    assert "the token is ***" in out
    assert "really '***'" in err
    assert FIRST not in everything + out + err


def test_an_agent_that_may_not_read_secrets_works_without(
    backlog: Backlog, agents: Agents, until: Any
) -> None:
    """As where the manager is older: it gives its pods no right to this key."""
    put(backlog, "v1", HF_TOKEN=FIRST)
    lua = (
        "+evalsha",
        "+script",
        "+get",
        "+exists",
        "+hset",
        "+pexpire",
        "+time",
        "+ping",
        "+client",
    )
    work = ("+@stream", "+type")
    own = (
        f"~{backlog.keys.pod('pod-a')}*",
        f"~{backlog.keys.lease}",
        f"~{backlog.keys.offered('*')}",
    )
    rules = ("reset", "on", ">word", *lua, *work, "+set", *own, "~tasks*")
    backlog.client.execute_command("ACL", "SETUSER", "pod-a", *rules)
    where = redis.Redis.from_url(backlog.url).connection_pool.connection_kwargs
    backlog.url = f"redis://pod-a:word@{where['host']}:{where['port']}/{where.get('db', 0)}"
    agents.start(backlog, "pod-a", "secret_handlers:told", env={"HF_TOKEN": "of-the-pod"})
    backlog.put(b"1")
    until(lambda: len(backlog.results()) == 1)
    assert said(backlog)[0][:2] == ["of-the-pod", "of-the-pod"]
    until(lambda: backlog.heartbeat("pod-a") is not None)


def test_what_was_read_stays_until_another_version_is_there(backlog: Backlog) -> None:
    secrets = Secrets("test", backlog.client)
    secrets.read()
    assert secrets.now() == NOTHING
    changes: list[str] = []
    secrets.when_changed(lambda: changes.append(secrets.now().version))
    put(backlog, "v1", HF_TOKEN=FIRST, AWS_REGION="eu-1")
    secrets.saw(b"v1")
    secrets.saw(b"v1")
    assert secrets.of_stores() == {"AWS_REGION": "eu-1"}
    backlog.client.delete(backlog.keys.secrets)  # a server that lost its data
    secrets.saw(b"")
    secrets.read()
    assert secrets.now().values == {"HF_TOKEN": FIRST, "AWS_REGION": "eu-1"}
    put(backlog, "0")
    secrets.saw(b"0")
    assert (dict(secrets.now().values), changes) == ({}, ["v1", "0"])


def test_a_right_that_comes_later_is_noticed(backlog: Backlog, redis_url: str) -> None:
    clock = [time.monotonic()]
    backlog.client.execute_command("ACL", "SETUSER", "late", "reset", "on", ">word", "+ping")
    where = redis.Redis.from_url(redis_url).connection_pool.connection_kwargs
    theirs = redis.Redis(
        host=where["host"], port=where["port"], username="late", password="word", protocol=2
    )
    secrets = Secrets("test", theirs, clock=lambda: clock[0])
    put(backlog, "v1", HF_TOKEN=FIRST)
    secrets.read()
    assert not secrets.readable
    right = f"(+hgetall %R~{backlog.keys.secrets})"
    backlog.client.execute_command("ACL", "SETUSER", "late", right)
    secrets.ask_again()
    assert secrets.now() == NOTHING
    clock[0] += ASK_AGAIN_SECONDS + 1
    secrets.ask_again()
    assert (secrets.readable, secrets.now().version) == (True, "v1")
