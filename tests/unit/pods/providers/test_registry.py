"""Which providers exist, and what a package of a third party may not do."""

import json
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from config.env import ROOT
from pods.providers import local, registry
from pods.providers.base import Provider
from pods.providers.errors import RateLimited
from tests.support.programs import command
from tests.support.third_party import leaves_nothing_imported, put_package

Install = Callable[..., None]
GOOD = (ROOT / "tests" / "support" / "packages" / "rented.py").read_text()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point on the path, as an installer does."""

    def put(package: str, points: str, source: str = GOOD) -> None:
        folder = put_package(tmp_path, package, f"[{registry.GROUP}]\n{points}", source)
        monkeypatch.syspath_prepend(folder)

    with leaves_nothing_imported(tmp_path):
        yield put


def an_account(name: str, folder: Path) -> Provider:
    """One of our providers, with the options that it needs."""
    options = {"root": str(folder)} if name == "local" else {}
    secret = "a-key" if name in {"runpod", "vastai"} else None
    return registry.create_provider(name, options=options, secret=secret)


def test_a_provider_of_ours_is_made_from_its_options(tmp_path: Path) -> None:
    provider = registry.create_provider("local", options={"root": str(tmp_path)}, secret=None)
    assert provider.name == "local"


def test_every_provider_of_ours_can_be_loaded_and_names_itself(tmp_path: Path) -> None:
    for name in registry.BUILT_IN:
        assert an_account(name, tmp_path).name == name


class _Turns:
    """A pacer that lets no request pass, and records the endpoints."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def take(self, endpoint: str) -> None:
        self.asked.append(endpoint)
        raise RateLimited("not now")


@pytest.mark.parametrize("name", sorted(set(registry.BUILT_IN) - {"local"}))
def test_every_provider_that_talks_http_asks_its_pacer_before_it_sends(name: str) -> None:
    turns = _Turns()
    provider = registry.create_provider(
        name, options={}, secret=None if name == "docker" else "a-key",
        make_pacer=lambda _rates: turns,  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    with pytest.raises(RateLimited):
        provider.list_tagged("pf")
    assert len(set(turns.asked)) == 1


def test_an_unknown_provider_is_refused_with_the_known_ones(install: Install) -> None:
    install("acme", "mine = acme:connect")
    with pytest.raises(ValueError, match=r"no provider 'runpd'; known: .*local, mine, runpod"):
        registry.create_provider("runpd", options={}, secret=None)


@pytest.mark.parametrize("name", ["", "Local", "local ", "pods.providers.local", "../local"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    with pytest.raises(ValueError, match="no provider"):
        registry.create_provider(name, options={}, secret=None)


def test_a_package_adds_a_provider_by_its_entry_point(install: Install) -> None:
    install("acme", "mine = acme:connect")
    assert "mine" in registry.names()
    made = registry.create_provider("mine", options={"colour": "red"}, secret="k")
    assert vars(made) == {"options": {"colour": "red"}, "secret": "k"}
    with pytest.raises(ValueError, match="use colour"):
        registry.create_provider("mine", options={"flavour": 1}, secret=None)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_a_package_cannot_take_the_name_of_a_provider_of_ours(
    install: Install, name: str, tmp_path: Path
) -> None:
    install("thief", f"{name} = thief:connect", "raise SystemExit('the thief was loaded')")
    assert registry.names().count(name) == 1
    made = an_account(name, tmp_path)
    assert type(made).__module__.startswith("pods.providers.")


def test_two_packages_with_one_name_are_told_and_neither_gets_the_key(install: Install) -> None:
    install("acme", "mine = acme:connect")
    install("bolt", "mine = bolt:connect", "raise SystemExit('it was loaded')")
    with pytest.raises(ValueError, match="comes from acme, bolt; uninstall all but one"):
        registry.create_provider("mine", options={}, secret="k")


@pytest.mark.parametrize(
    ("points", "source", "said"),
    [
        ("mine = acme:connect", "import a_library_that_is_missing", "a_library_that_is_missing"),
        ("mine = acme:made_up", GOOD, "made_up"),
        ("mine = acme:connect", "connect = 'a text'", "acme:connect of acme cannot be called"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named(
    install: Install, points: str, source: str, said: str
) -> None:
    install("acme", points, source)
    with pytest.raises(ValueError, match="'mine'") as told:
        registry.create_provider("mine", options={}, secret=None)
    assert said in str(told.value)
    # It does not affect other providers.
    assert registry.create_provider("vastai", options={}, secret="a-key").name == "vastai"


def test_no_provider_is_imported_before_it_is_used() -> None:
    look = command("loaded", "pods.providers.registry")
    loaded = json.loads(subprocess.check_output(look, cwd=ROOT, text=True))
    assert "pods.providers.registry" in loaded
    for name in registry.BUILT_IN.values():
        assert not [module for module in loaded if module.startswith(name)]
    assert "httpx" not in loaded


DESCRIBED = (
    GOOD
    + '''
import dataclasses
@dataclasses.dataclass
class Options:
    """The options."""
    colour: str = "red"
connect.__doc__ = "Rented boxes.\\nMore of them."
connect.options = Options
'''
)


def test_a_package_may_say_what_its_pods_are_and_describe_its_options(install: Install) -> None:
    install("acme", "mine = acme:connect", DESCRIBED)
    install("bolt", "other = bolt:connect")
    assert registry.about("mine") == "Rented boxes."
    assert [field.name for field in registry.option_fields_of("mine") or ()] == ["colour"]
    assert registry.about("other") == ""
    assert registry.option_fields_of("other") is None


@pytest.mark.parametrize("options", ["7", "int", "Options()"])
def test_options_of_a_package_are_shown_only_if_they_are_a_dataclass(
    install: Install, options: str
) -> None:
    install("acme", "mine = acme:connect", f"{DESCRIBED}\nconnect.options = {options}\n")
    assert registry.option_fields_of("mine") is None


def test_a_provider_of_ours_says_what_its_pods_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.about("local") == local.__doc__
    monkeypatch.setattr(local, "__doc__", None)  # as python -OO leaves it
    assert registry.about("local") == ""


def test_an_entry_point_of_nobody_is_told_without_a_name() -> None:
    assert registry._package(EntryPoint("mine", "acme:connect", registry.GROUP)) == "a package"
