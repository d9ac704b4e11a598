"""The manifests in deploy/kubernetes: their schemas, and that they run what docker-compose.yml runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from config.env import ROOT
from tests.support import compose

pytestmark = pytest.mark.one_database

FOLDER = ROOT / "deploy" / "kubernetes"
EXAMPLE = FOLDER / "secret.example.yaml"
KUSTOMIZATION = FOLDER / "kustomization.yaml"
MANIFESTS = sorted({*FOLDER.glob("*.yaml")} - {KUSTOMIZATION})
VERSIONS = ("1.30", "1.37")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def the_one(name: str, kind: str) -> dict[str, Any]:
    [found] = [d for d in documents(FOLDER / f"{name}.yaml") if d["kind"] == kind]
    return found


def pod(name: str) -> dict[str, Any]:
    kind = "Job" if name == "prepare" else "Deployment"
    spec: dict[str, Any] = the_one(name, kind)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    [found] = pod(name)["containers"]
    assert isinstance(found, dict)
    return found


def validate(*files: Path, version: str = VERSIONS[-1]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubernetes_validate", "-k", version, "--strict", "--quiet"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_accept_every_manifest(version: str) -> None:
    checked = validate(*MANIFESTS, version=version)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_misspelt_key_is_not_accepted(tmp_path: Path) -> None:
    wrong = tmp_path / "beat.yaml"
    wrong.write_text((FOLDER / "beat.yaml").read_text().replace("replicas:", "replica:"))
    checked = validate(wrong)
    assert checked.returncode != 0
    assert "replica" in checked.stdout + checked.stderr


@pytest.mark.parametrize("name", ["prepare", *compose.PROCESSES])
def test_each_process_runs_what_compose_runs_with_the_same_signal(name: str) -> None:
    service = "migrate" if name == "prepare" else name
    assert container(name)["command"] == compose.command(service)
    given = {variable["name"]: variable["value"] for variable in container(name).get("env", [])}
    assert given.get("REMAP_SIGTERM") == compose.environment(service).get("REMAP_SIGTERM")


@pytest.mark.parametrize("name", ["worker-control", "worker-vendor", "beat"])
def test_a_process_without_a_port_is_asked_what_compose_asks(name: str) -> None:
    how, *words = compose.service(name)["healthcheck"]["test"]
    asked = words if how == "CMD" else ["sh", "-c", words[0].replace("$$", "$")]
    for probe in ("startupProbe", "livenessProbe"):
        assert container(name)[probe]["exec"]["command"] == asked


@pytest.mark.parametrize(("name", "port"), [("web", 8000), ("flower", 5555)])
def test_a_service_leads_to_the_port_on_which_its_process_listens(name: str, port: int) -> None:
    service = the_one(name, "Service")["spec"]
    template = the_one(name, "Deployment")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    assert container(name)["ports"] == [{"name": "http", "containerPort": port}]
    words = container(name)["command"]
    assert f"--port={port}" in words or words[words.index("--port") + 1] == str(port)
    [path] = {
        container(name)[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")
    }
    assert path == {"web": "/healthz", "flower": "/healthcheck"}[name]


@pytest.mark.django_db
def test_the_probes_ask_for_a_host_that_the_pages_know(settings: Any) -> None:
    data = the_one("config", "ConfigMap")["data"]
    settings.ALLOWED_HOSTS = data["PODFLEET_ALLOWED_HOSTS"].split(",")
    settings.SECURE_SSL_REDIRECT = data["PODFLEET_HTTPS"] == "1"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        [header] = container("web")[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        path = container("web")[probe]["httpGet"]["path"]
        assert Client(headers={"host": header["value"]}).get(path).status_code == 200
        assert Client(headers={"host": "10.1.2.3"}).get(path).status_code == 400


def test_the_config_and_the_secret_set_what_compose_needs() -> None:
    config, secret = the_one("config", "ConfigMap")["data"], documents(EXAMPLE)[0]["stringData"]
    assert compose.needed() - config.keys() - secret.keys() == set()
    assert config.keys() & secret.keys() == set()
    assert {*config, *secret} - compose.known() == set()
    assert set(secret.values()) == {""}
    assert not any(re.search("PASSWORD|SECRET|KEY|TOKEN", name) for name in config)


@pytest.mark.parametrize("name", ["prepare", *compose.PROCESSES])
def test_every_pod_is_confined_and_gets_the_variables(name: str) -> None:
    spec = pod(name)
    assert (spec["enableServiceLinks"], spec["automountServiceAccountToken"]) == (False, False)
    [user] = re.findall(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert spec["securityContext"]["runAsUser"] == int(user)
    assert spec["securityContext"]["runAsNonRoot"] is True
    first = [c["command"][1:] for c in spec.get("initContainers", [])]
    assert first == ([] if name == "prepare" else [["manage.py", "migrate", "--check"]])
    for each in (*spec.get("initContainers", []), *spec["containers"]):
        assert each["image"] == "podfleet"
        assert each["envFrom"] == [
            {"configMapRef": {"name": "podfleet"}},
            {"secretRef": {"name": "podfleet"}},
        ]
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= each["resources"]["requests"].keys()
        assert "memory" in each["resources"]["limits"]
        assert {mount["mountPath"] for mount in each["volumeMounts"]} == {"/app/var", "/tmp"}


def test_beat_is_never_started_beside_another_beat() -> None:
    spec = the_one("beat", "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_kustomize_takes_every_manifest_but_the_example() -> None:
    [listed] = documents(KUSTOMIZATION)
    assert {FOLDER / name for name in listed["resources"]} == {*MANIFESTS} - {EXAMPLE}
    assert [image["name"] for image in listed["images"]] == ["podfleet"]
    assert listed["namespace"] == documents(EXAMPLE)[0]["metadata"]["namespace"]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_kustomize_makes_manifests_that_the_schemas_accept(tmp_path: Path) -> None:
    made = tmp_path / "all.yaml"
    with made.open("w") as file:
        subprocess.run(["kubectl", "kustomize", str(FOLDER)], stdout=file, check=True)
    images = set(re.findall(r"image: (\S+)", made.read_text()))
    [listed] = documents(KUSTOMIZATION)
    [image] = listed["images"]
    assert images == {f"{image['newName']}:{image['newTag']}"}
    assert {d["metadata"].get("namespace") for d in documents(made)} == {None, "podfleet"}
    checked = validate(made)
    assert checked.returncode == 0, checked.stdout + checked.stderr
