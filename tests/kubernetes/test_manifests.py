"""What `kubectl apply -k deploy/kubernetes` would be told fits Kubernetes' schemas, the image and the service."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import PROJECT
from wxlogin.config import settings
from wxlogin.config.settings import InvalidSettings, Settings
from wxlogin.server.gunicorn_config import GRACEFUL_TIMEOUT_SECONDS

FOLDER = PROJECT / "deploy/kubernetes"
RESOURCES = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
EXAMPLE = "secret.example.yaml"
OLDEST, NEWEST = "1.30", "1.37"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_fits_the_schema_of_kubernetes(version: str) -> None:
    files = [str(FOLDER / name) for name in (*RESOURCES, EXAMPLE)]

    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", version, *files]
    validated = subprocess.run(command, capture_output=True, text=True, check=False)

    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_every_manifest_is_applied_except_the_example_of_a_secret() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*RESOURCES, EXAMPLE, "kustomization.yaml"}


def test_every_variable_is_a_setting_of_the_service_or_of_gunicorn(deployment: dict[str, Any]) -> None:
    names = {*manifest("configmap.yaml")["data"], *(variable["name"] for variable in container(deployment)["env"])}

    known = {settings.name_of(field) for field in dataclasses.fields(Settings)}
    assert {name.removesuffix("_FILE") for name in names} - known == {"WEB_CONCURRENCY"}


def test_secrets_are_files_with_the_names_of_the_example(deployment: dict[str, Any]) -> None:
    [mount] = [each for each in container(deployment)["volumeMounts"] if each["name"] == "secrets"]
    paths = {variable["value"] for variable in container(deployment)["env"] if "SECRET" in variable["name"]}

    assert paths <= {f"{mount['mountPath']}/{key}" for key in manifest(EXAMPLE)["stringData"]}
    assert {Path(variable["value"]).name for variable in container(deployment)["env"]} == set(
        manifest(EXAMPLE)["stringData"]
    )


def test_the_service_refuses_to_start_with_the_example_of_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WXLOGIN_APPID", "wx0000000000000000")
    example = manifest(EXAMPLE)["stringData"]
    for name, value in example.items():
        monkeypatch.setenv(f"WXLOGIN_{name.upper()}", value)

    with pytest.raises(InvalidSettings) as refusal:
        settings.load()

    assert len(refusal.value.problems) == len(example)


def test_pods_are_found_by_all_who_look_for_them(deployment: dict[str, Any]) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    pods = {"matchLabels": labels}

    assert deployment["spec"]["selector"] == pods
    assert manifest("service.yaml")["spec"]["selector"] == labels
    assert manifest("poddisruptionbudget.yaml")["spec"]["selector"] == pods
    assert manifest("networkpolicy.yaml")["spec"]["podSelector"] == pods
    assert (
        manifest("horizontalpodautoscaler.yaml")["spec"]["scaleTargetRef"]["name"]
        == deployment["metadata"]["name"]
    )


def test_the_container_runs_as_the_image_does(deployment: dict[str, Any]) -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text()
    pod, inside = (
        deployment["spec"]["template"]["spec"]["securityContext"],
        container(deployment)["securityContext"],
    )

    assert f"\nUSER {pod['runAsUser']}:{pod['runAsGroup']}\n" in dockerfile
    assert f"\nEXPOSE {container(deployment)['ports'][0]['containerPort']}\n" in dockerfile
    assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_has_time_to_finish_what_it_serves(deployment: dict[str, Any]) -> None:
    [_, pause] = container(deployment)["lifecycle"]["preStop"]["exec"]["command"]

    given = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert given > int(pause) + GRACEFUL_TIMEOUT_SECONDS


def test_probes_ask_what_the_service_answers(deployment: dict[str, Any]) -> None:
    probes = {
        name: container(deployment)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }

    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}


@pytest.fixture
def deployment() -> dict[str, Any]:
    return manifest("deployment.yaml")


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found
