"""The protocol, fixed by golden files. Whoever changes one changes what running agents must understand."""

import dataclasses
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.env import ROOT
from pods.agent import protocol, start
from pods.agent.protocol import AgentSettings, AgentState, Heartbeat, Keys
from tests.support.programs import command
from tests.support.waiting import patience

GOLDEN = Path(__file__).parent / "golden"
SCRIPTS = {path.stem: path.read_text() for path in protocol.SCRIPTS.glob("*.lua")}

SETTINGS = AgentSettings(
    redis_url="rediss://pod-7:secret@redis.example:6380/0",
    fleet="emb",
    pod="emb-7",
    stream="embedding_tasks",
    group="embedders",
    handler="pods.agent.handlers.wordllama:embed",
)
BEAT = Heartbeat(
    state=AgentState.WORKING,
    done=10,
    failed=2,
    failing=33,
    final=7,
    dead=1,
    duplicates=3,
    gone=5,
    claimed=4,
    in_flight=64,
    idle_ms=0,
    held_ms=50_000,
    since_ack_ms=250,
    oldest_ms=900,
    uptime_ms=60_000,
    rate=7.5,
    busy=0.5,
    starved=0.25,
    link=0.125,
    starting=0.0625,
    batch=64,
    held_bytes=65_536,
    rtt_ms=80.5,
    gpu_percent=93,
    gpu_memory_percent=41,
    gpu_watts=350,
    cpu_percent=12,
    handler="pods.agent.handlers.wordllama:embed",
    host="gpu-1",
    note="commit: TimeoutError",
)


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def test_the_heartbeats_fields_are_the_golden_ones():
    assert BEAT.fields() == golden("heartbeat")


@pytest.fixture
def version_1(monkeypatch):
    """The protocol as managers of version 1 have it."""
    path = GOLDEN / "protocol_of_version_1.txt"
    module = types.ModuleType("protocol_of_version_1")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(path.read_text(), path, "exec"), vars(module))
    assert module.VERSION == 1
    return module


@pytest.mark.parametrize("said", [BEAT, Heartbeat(state=AgentState.WORKING)])
def test_a_manager_of_version_1_can_read_a_heartbeat_of_today(said, version_1):
    """It needs its own fields, and skips those that it does not know."""
    raw = {k.encode(): v.encode() for k, v in {**said.fields(), "at_ms": "5"}.items()}
    beat = version_1.Heartbeat.parse(raw)
    known = {f.name for f in dataclasses.fields(beat)} - {"state", "at_ms", "gpu_percent"}
    assert beat.state.value == said.state.value
    assert {name: getattr(beat, name) for name in known} == {n: getattr(said, n) for n in known}
    assert beat.gpu_percent == (-1 if said.gpu_percent is None else said.gpu_percent)


def test_a_heartbeat_of_an_agent_of_version_1_can_be_read():
    raw = {k.encode(): v.encode() for k, v in golden("heartbeat_of_version_1").items()}
    beat = Heartbeat.parse({**raw, b"at_ms": b"0"})
    unknown = dict.fromkeys(set(protocol.MEASURES) - {"gpu_percent"})
    since = dict.fromkeys(protocol.OF_NEWER_AGENTS, 0)
    assert beat == dataclasses.replace(BEAT, version=1, **since, **unknown)


@pytest.mark.parametrize("length", [0, 1, 199, 200, 201, 525, 2500])
def test_a_long_authority_goes_over_several_variables_that_a_vendor_takes(length):
    told = dataclasses.replace(SETTINGS, redis_ca=("abc+/" * length)[:length])
    env = told.env()
    assert AgentSettings.from_env(env) == told
    assert start.authority(env) == told.redis_ca
    pieces = [f"{name}={value}" for name, value in env.items() if "REDIS_CA" in name]
    assert max(map(len, pieces)) < 256


def test_the_environment_of_an_agent_is_the_golden_one():
    assert SETTINGS.env() == golden("environment")


def test_the_keys_of_a_fleet_are_the_golden_ones():
    keys = Keys("emb")
    assert golden("keys") == {
        "prefix": keys.prefix,
        "lease": keys.lease,
        "pod": keys.pod("emb-7"),
        "command": keys.command("emb-7"),
        "fence": keys.fence("emb-7"),
        "released_consumer": protocol.RELEASED_CONSUMER,
        "commands": [command.value for command in protocol.Command],
        "states": [state.value for state in AgentState],
    }


def test_the_fields_of_items_results_and_dead_letters_are_the_golden_ones():
    kinds = {"ITEM": "item", "RESULT": "result", "DEAD": "dead_letter"}
    fields = {
        kind: sorted(v for k, v in vars(protocol).items() if k.startswith(f"{prefix}_"))
        for prefix, kind in kinds.items()
    }
    assert fields == golden("fields")


def test_the_scripts_write_the_golden_fields():
    assert set(re.findall(r"'(dead_\w+)'", SCRIPTS["fail"])) == set(golden("fields")["dead_letter"])
    for field in golden("fields")["result"]:
        assert f"'{field}'" in SCRIPTS["commit"]


def test_every_script_but_the_heartbeat_begins_by_looking_at_the_fence():
    for name, text in SCRIPTS.items():
        code = [line for line in text.splitlines() if not line.startswith(("--", "#!"))]
        if name != "heartbeat":
            assert code[0] == "if redis.call('EXISTS', KEYS[2]) == 1 then", name


PAGES = ("protocol.md", "agent.md", "datasets.md", "calls-that-fit.md")


def test_the_protocol_is_written_down():
    pages = Path(__file__).parents[4] / "docs" / "reference"
    document = "".join((pages / page).read_text() for page in PAGES)
    names = [f.name for f in dataclasses.fields(Heartbeat)]
    names += [f"`PODFLEET_{f.name.upper()}`" for f in dataclasses.fields(AgentSettings)]
    names += [f"`{name}.lua`" for name in SCRIPTS]
    names += [field for fields in golden("fields").values() for field in fields]
    names += golden("keys")["commands"] + golden("keys")["states"]
    assert [name for name in names if name not in document] == []


def test_settings_survive_the_way_through_the_environment():
    assert AgentSettings.from_env(SETTINGS.env()) == SETTINGS


def test_settings_that_are_given_count_and_the_others_are_the_usual_ones():
    env = {
        **SETTINGS.env(),
        "PODFLEET_BATCH_SIZE": "3",
        "PODFLEET_DEAD": "bad",
        "PODFLEET_KIND": "",
    }
    del env["PODFLEET_MAX_DELIVERIES"]
    told = AgentSettings.from_env(env)
    assert (told.batch_size, told.dead, told.max_deliveries) == (3, "bad", 5)


def test_an_unknown_kind_of_work_is_refused_with_what_would_be_right():
    with pytest.raises(ValueError, match="PODFLEET_KIND='datasets' is not 'dataset', or nothing"):
        AgentSettings.from_env({**SETTINGS.env(), "PODFLEET_KIND": "datasets"})


def test_everything_that_is_wrong_with_the_settings_is_reported_at_once():
    env = {**SETTINGS.env(), "PODFLEET_BATCH_SIZE": "many", "PODFLEET_ORPHAN_SECONDS": "-1"}
    del env["PODFLEET_STREAM"]
    with pytest.raises(ValueError, match="STREAM is not set") as caught:
        AgentSettings.from_env(env)
    assert "PODFLEET_BATCH_SIZE='many' is not a whole number" in str(caught.value)
    assert "PODFLEET_ORPHAN_SECONDS=-1 must be above 0" in str(caught.value)


def test_the_redis_url_is_not_in_the_repr():
    assert "secret" not in repr(SETTINGS)


@given(
    st.builds(
        Heartbeat,
        state=st.sampled_from(AgentState),
        note=st.text(st.characters(exclude_categories=["Cs"]).filter(str.isprintable)),
        done=st.integers(0, 2**53 - 1),
        rate=st.floats(0, 1e9),
        busy=st.none() | st.floats(0, 0.5),
        starved=st.none() | st.floats(0, 0.5),
        held_bytes=st.none() | st.integers(0, 2**53 - 1),
        rtt_ms=st.none() | st.floats(0, 1e9),
        gpu_percent=st.none() | st.integers(0, 100),
    )
)
def test_a_heartbeat_that_was_written_can_be_read(beat):
    raw = {k.encode(): v.encode() for k, v in beat.fields().items()}
    assert Heartbeat.parse({**raw, b"at_ms": b"0"}) == beat


@pytest.mark.parametrize("broken", [{}, {b"state": b"dancing"}, {b"state": b"working"}])
def test_a_heartbeat_that_cannot_be_read_is_none(broken):
    assert Heartbeat.parse(broken) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"busy": "nan"}, {"busy": "1.01"}, {"busy": "-0.5"}, {"link": ""}, {"link": "inf"},
        {"busy": "0.6", "starved": "0.6"}, {"batch": "2.5"}, {"batch": "-2"}, {"rtt_ms": "1e300"},
        {"held_bytes": str(2**53)}, {"gpu_percent": "101"}, {"gpu_memory_percent": "many"},
        {"gpu_watts": "-7"}, {"cpu_percent": "101"},
        {"rate": "nan"}, {"rate": "-1"}, {"done": "-1"}, {"done": str(2**53)},
        {"since_ack_ms": "-2"}, {"idle_ms": str(protocol.LONGEST_MS + 1)},
    ],
    ids=str,
)  # fmt: skip
def test_a_measure_that_makes_no_sense_makes_the_heartbeat_unreadable(wrong):
    raw = {k.encode(): v.encode() for k, v in {**BEAT.fields(), "at_ms": "0", **wrong}.items()}
    assert Heartbeat.parse(raw) is None


def test_the_time_of_a_heartbeat_is_a_date_and_no_duration():
    at_ms = 1_764_600_000_000
    raw = {k.encode(): v.encode() for k, v in {**BEAT.fields(), "at_ms": str(at_ms)}.items()}
    assert Heartbeat.parse(raw).at_ms == protocol.written_at_ms(raw) == at_ms


def test_a_note_brings_no_control_characters():
    raw = {k.encode(): v.encode() for k, v in {**BEAT.fields(), "at_ms": "0"}.items()}
    assert Heartbeat.parse({**raw, b"note": b"a\x1b[2Jb\nc\xff"}).note == "a [2Jb c\ufffd"


def test_a_measure_that_the_agent_does_not_know_is_unknown_and_not_zero():
    unknown = dict.fromkeys(protocol.MEASURES)
    beat = dataclasses.replace(BEAT, **unknown)
    assert {beat.fields()[name] for name in unknown} == {"-1"}
    raw = {k.encode(): v.encode() for k, v in {**beat.fields(), "at_ms": "0"}.items()}
    assert Heartbeat.parse(raw) == beat


@pytest.mark.parametrize(
    ("held", "full"),
    [(None, False), (protocol.MOST_HELD_BYTES - 1, False), (protocol.MOST_HELD_BYTES, True)],
)
def test_an_agent_that_held_all_that_it_may_was_full(held, full):
    assert dataclasses.replace(BEAT, held_bytes=held).full is full


@pytest.mark.parametrize("fleet", ["", "-a", "A", "a" * 61, "a:b", "a*"])
def test_a_fleet_name_that_could_reach_other_keys_is_refused(fleet):
    with pytest.raises(ValueError, match="fleet name"):
        Keys(fleet)


def test_the_agent_loads_neither_django_nor_celery():
    look = command("loaded", "pods.agent.__main__", "pods.agent.child")
    loaded = json.loads(subprocess.check_output(look, cwd=ROOT, text=True))
    assert not {"django", "celery", "kombu", "fleet", "config"} & set(loaded)
    assert not {"pyarrow", "obstore", "pods.agent.dataset"} & set(loaded)
    assert {m for m in loaded if m.startswith("pods.")} == {
        m for m in loaded if m.startswith("pods.agent")
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"PODFLEET_HANDLER": "nonsense"}, "package.module:function"),
        ({"PODFLEET_REDIS_URL": "http://x"}, "PODFLEET_REDIS_URL"),
        ({"PODFLEET_FLEET": "No Name"}, "fleet name"),
    ],
)
def test_wrong_settings_end_the_agent_with_status_2_and_the_reason(change, why):
    ended = subprocess.run(
        [sys.executable, "-m", "pods.agent"],
        check=False,
        env={**SETTINGS.env(), **change},
        capture_output=True,
        text=True,
        timeout=patience(60),
    )
    assert ended.returncode == 2
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("results", ["tasks", "tasks:dead"])
def test_an_agent_refuses_to_publish_its_results_as_items(results: str) -> None:
    told = AgentSettings(
        redis_url="redis://h", fleet="f", pod="p", stream="tasks", group="g", handler="m:f"
    )
    env = {**told.env(), "PODFLEET_RESULTS": results}
    with pytest.raises(ValueError, match=f"PODFLEET_RESULTS={results} is the backlog"):
        AgentSettings.from_env(env)
    # an agent that runs the user's own worker publishes nothing
    assert AgentSettings.from_env({**env, "PODFLEET_CELERY_APP": "m:app"}).results == results
