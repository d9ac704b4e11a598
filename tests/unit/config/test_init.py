"""`podfleet init` writes a file that Compose and the settings accept, for its user alone."""

import io
import re
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from config.env import ROOT, SHORTEST_SECRET, Env


def init(*words: str) -> str:
    said = io.StringIO()
    call_command("init", *words, stdout=said)
    return said.getvalue()


def variables(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_it_has_each_variable_that_a_deployment_must_set(tmp_path: Path) -> None:
    assert f"wrote {tmp_path}/.env" in init(str(tmp_path))
    written = variables(tmp_path / ".env")
    empty = re.findall(r"^([A-Z_]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    wanted = re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text())
    assert empty
    assert wanted
    assert {*empty, *wanted} <= {name for name, value in written.items() if value}
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert all(re.fullmatch(r"[\w.:/,-]+", value) for value in written.values())


def test_the_settings_accept_it_in_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(str(tmp_path), "--host", "Fleet.example.com", "--https")
    for name, value in variables(tmp_path / ".env").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODFLEET_PRODUCTION", "1")
    monkeypatch.setenv("DATABASE_URL", "postgres://podfleet@database/podfleet")
    monkeypatch.setenv("REDIS_URL", "redis://cache/0")
    known = Env()
    assert len(known.secret_key.get_secret_value()) >= SHORTEST_SECRET
    assert known.https
    assert known.behind_proxy
    assert known.allowed_hosts[0] == "fleet.example.com"
    assert known.csrf_trusted_origins[0] == "https://fleet.example.com"


def test_two_files_have_no_secret_in_common(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        init(str(folder))
    one, other = (variables(folder / ".env") for folder in folders)
    same = {name for name in one if one[name] == other[name]}
    assert same == {"PODFLEET_ALLOWED_HOSTS", "PODFLEET_CSRF_TRUSTED_ORIGINS"}


def test_an_existing_file_stays_and_a_folder_must_be_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MINE=1\n")
    with pytest.raises(CommandError, match="exists, and its secrets may be in use"):
        init(str(tmp_path))
    assert (tmp_path / ".env").read_text() == "MINE=1\n"
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        init(str(tmp_path / "none"))


@pytest.mark.parametrize("host", ["https://x.example", "a b", "x:8000", "x\nDEBUG=1", ""])
def test_what_is_not_a_host_name_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a host name"):
        init(str(tmp_path), f"--host={host}")
    assert not (tmp_path / ".env").exists()
