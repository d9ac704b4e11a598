"""deploy/caddy/Caddyfile leads to the ports on which Compose and the units listen."""

import re
import shutil
import subprocess

import pytest

from config.env import ROOT
from tests.support import compose

CADDYFILE = ROOT / "deploy" / "caddy" / "Caddyfile"
EXAMPLE = ROOT / "deploy" / "systemd" / "podfleet.env.example"
SITE = re.compile(r"^([\w.]+) \{$.*?reverse_proxy (\S+)", re.MULTILINE | re.DOTALL)


def test_each_name_leads_to_the_port_of_its_process() -> None:
    sites = dict(SITE.findall(CADDYFILE.read_text()))
    published = {
        name: compose.filled(compose.service(name)["ports"][0], {}).rpartition(":")[0]
        for name in ("web", "flower")
    }
    assert sites == {
        "podfleet.example.com": published["web"],
        "flower.example.com": published["flower"],
    }


def test_the_example_of_the_units_names_the_hosts_of_caddy() -> None:
    given = dict(re.findall(r"^([A-Z_]+)=(.+)$", EXAMPLE.read_text(), re.MULTILINE))
    assert "podfleet.example.com" in given["PODFLEET_ALLOWED_HOSTS"].split(",")
    assert given["PODFLEET_CSRF_TRUSTED_ORIGINS"] == "https://podfleet.example.com"
    assert given["PODFLEET_FLOWER_URL"] == "https://flower.example.com"
    assert (given["PODFLEET_HTTPS"], given["PODFLEET_BEHIND_PROXY"]) == ("1", "1")


@pytest.mark.skipif(not shutil.which("caddy"), reason="needs caddy")
def test_caddy_can_read_the_file() -> None:
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
