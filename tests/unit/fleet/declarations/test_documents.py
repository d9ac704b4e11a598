"""What a file that declares fleets may hold, and what is said of one that is wrong."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from config.env import ROOT
from fleet.declarations.documents import Declared, WrongDocument, read

HANDLER = 'handler = "pods.agent.handlers.pace:sleep"\n'
ADDRESS = "redis://user:secret@redis.example/0"


def declared(
    toml: str, *, is_yaml: bool = False, environment: dict[str, str] | None = None
) -> Declared:
    [found] = read(toml, is_yaml=is_yaml, environment=environment or {})
    return found


def refused(text: str, *, is_yaml: bool = False) -> str:
    with pytest.raises(WrongDocument) as raised:
        read(text, is_yaml=is_yaml, environment={})
    return str(raised.value)


def test_toml_and_yaml_declare_the_same_fleet() -> None:
    toml = declared(
        f"[fleets.emb]\n{HANDLER}max_hourly_usd = 0.1\ntick_seconds = 30\n"
        '[fleets.emb.offer_query]\ngpu_types = ["L4"]\n'
    )
    yaml = declared(
        "fleets:\n  emb:\n    handler: pods.agent.handlers.pace:sleep\n    max_hourly_usd: 0.1\n"
        "    tick_seconds: 30\n    offer_query: {gpu_types: [L4]}\n",
        is_yaml=True,
    )
    assert toml == yaml
    assert toml.fields["max_hourly_usd"] == Decimal("0.1")
    assert toml.accounts == ("local",)
    assert toml.tick_seconds == 30
    assert "max_instances" not in toml.fields


@pytest.mark.parametrize(
    "written",
    [
        "2026-12-04T18:00+01:00",
        '"2026-12-04T18:00+01:00"',
        "2026-12-04T18:00:00+01:00",
        '"2026-12-04 17:00:00Z"',
    ],
)
def test_a_moment_may_be_text_and_leave_out_its_seconds(written: str) -> None:
    yaml = f"fleets: {{emb: {{handler: 'a:b', drain_by: {written}}}}}"
    found = [declared(yaml, is_yaml=True)]
    if written.startswith('"') or written.count(":") == 3:  # else TOML itself does not take it
        found.append(declared(f"[fleets.emb]\n{HANDLER}drain_by = {written}\n"))
    moments = {one.fields["drain_by"] for one in found}
    assert moments == {datetime(2026, 12, 4, 17, tzinfo=UTC)}


@pytest.mark.parametrize(
    "written",
    ["2026-12-04T18:00:00", '"2026-12-04T18:00"', "2026-12-04", '"2026-02-30T18:00Z"', "5"],
)
@pytest.mark.parametrize("is_yaml", [True, False])
def test_a_moment_without_a_zone_is_refused_with_what_would_be_right(
    written: str, is_yaml: bool
) -> None:
    yaml = f"fleets: {{emb: {{handler: 'a:b', drain_by: {written}}}}}"
    toml = f"[fleets.emb]\n{HANDLER}drain_by = {written}\n"
    said = "fleets.emb.drain_by: write 2026-12-04T18:00+01:00, with its zone"
    assert refused(yaml if is_yaml else toml, is_yaml=is_yaml) == said


def test_a_file_without_fleets_declares_none() -> None:
    assert read("", is_yaml=False, environment={}) == ()
    assert read("# nothing yet\n", is_yaml=True, environment={}) == ()


def test_an_address_with_a_password_comes_from_the_environment() -> None:
    text = f'[fleets.emb]\n{HANDLER}backlog_url = {{ env = "EMB_REDIS" }}\n'
    found = declared(text, environment={"EMB_REDIS": ADDRESS})
    assert found.fields["backlog_url"] == ADDRESS
    assert refused(text) == (
        "fleets.emb.backlog_url: the variable EMB_REDIS is not set; set it, then try again"
    )


def test_a_password_in_a_file_is_refused_and_not_repeated() -> None:
    said = refused(f'[fleets.emb]\n{HANDLER}backlog_url = "{ADDRESS}"\n')
    assert said.startswith("fleets.emb.backlog_url: no password in a file; put the whole address")
    assert "secret" not in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "max_instance = 3",
            "max_instance: is not a field of a fleet; did you mean max_instances?",
        ),
        ("colour = 3", "colour: is not a field of a fleet"),
        ('max_instances = "3"', "max_instances: input should be a valid integer"),
        ("max_instances = true", "max_instances: input should be a valid integer"),
        ("max_instances = -1", "max_instances: input should be greater than or equal to 0"),
        ('max_hourly_usd = "2"', "max_hourly_usd: give a number, such as 2.5, without quotes"),
        ('mode = "run"', "mode: input should be 'running', 'paused' or 'stop_all'"),
        ("tick_seconds = 0", "tick_seconds: input should be greater than or equal to 1"),
        ("accounts = []", "accounts: list should have at least 1 item"),
        ('backlog_url = { env = "A B" }', "backlog_url.env: string should match pattern"),
    ],
)
def test_a_wrong_line_is_named_with_what_would_be_right(line: str, says: str) -> None:
    assert refused(f"[fleets.emb]\n{HANDLER}{line}\n").startswith(f"fleets.emb.{says}")


def test_all_wrong_places_are_named_at_once() -> None:
    said = refused('[fleets.emb]\nbatch = 1\n[fleets."A b"]\nhandler = "x:y"\n[limits]\nx = 1\n')
    assert said.splitlines() == [
        "fleets.emb.handler: is missing; every fleet needs it",
        "fleets.emb.batch: is not a field of a fleet; did you mean batch_size?",
        "fleets.A b: use 1 to 40 of the characters a-z, 0-9 and -; the first one must not be -",
        "limits: is not known; a file has the table `fleets`, as in [fleets.my-fleet]",
    ]


@pytest.mark.parametrize(
    ("text", "is_yaml", "says"),
    [
        ("[fleets.emb\n", False, "this is not TOML: "),
        ("fleets: {a: 1", True, "this is not YAML: "),
        ("fleets: {}\nfleets: {}\n", True, "line 2: 'fleets' is there twice"),
        ("a: &x [1]\nb: *x\n", True, "write the value out instead of an alias"),
        ("a: !!python/object:os.system {}\n", True, "this is not YAML: could not determine"),
        ("- a\n", True, "the file: input should be"),
        (f"{'[' * 5000}", True, "the file is nested too deep"),
        ("x" * 1_000_001, False, "the file has more than 1,000,000 characters"),
    ],
)
def test_what_is_no_file_of_fleets_is_refused_in_one_line(
    text: str, is_yaml: bool, says: str
) -> None:
    said = refused(text, is_yaml=is_yaml)
    assert says in said
    assert "\n" not in said


def test_the_example_in_the_docs_declares_a_fleet() -> None:
    page = (ROOT / "docs/howto/fleets-in-git.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    found = declared(example, environment={"EMB_REDIS": ADDRESS})
    assert found.accounts == ("runpod",)
    assert found.fields["offer_query"] == {"gpu_types": ["RTX 4090"]}
