"""The files of the Compose stack agree with each other and with the documentation; this takes no Docker."""

from __future__ import annotations

import dataclasses
import re
import runpy
from typing import Any

import pytest
import yaml

from tests.compose.stack import SECRETS
from tests.servers import PROJECT
from wxlogin.config import settings
from wxlogin.config.settings import Settings

STACK = "docker-compose.yml"
OVERRIDES = [f"deploy/compose/{name}.yml" for name in ("cluster", "sentinel", "observability", "production")]


@pytest.fixture(scope="module")
def preparation() -> dict[str, Any]:
    return runpy.run_path(str(PROJECT / "deploy/compose/prepare.py"))


def test_redis_lets_the_service_do_what_the_documentation_says(preparation: dict[str, Any]) -> None:
    documented = (PROJECT / "docs/operations.md").read_text()
    [commands] = re.findall(r"ACL SETUSER wxlogin reset on .*? -@all \\\n((?:.*\\\n)*.*)", documented)
    [in_a_cluster] = re.findall(r"^\| a Cluster \| `(.*?)`", documented, re.MULTILINE)

    assert preparation["SERVICE_COMMANDS"].split() == re.findall(r"\+[\w|]+", commands)
    assert preparation["CLUSTER_COMMANDS"] == in_a_cluster.replace("\\|", "|")


def test_redis_is_set_up_as_the_documentation_says() -> None:
    documented = (PROJECT / "docs/operations.md").read_text().partition("## Which Redis")[2]
    wanted = [
        line.split("#")[0].split() for line in documented.partition("```\n")[2].partition("```")[0].splitlines()
    ]
    config = [line.split() for line in (PROJECT / "deploy/compose/redis.conf").read_text().splitlines()]

    assert [line for line in wanted if line[0] != "maxmemory" and line not in config] == []
    assert "maxmemory" in [line[0] for line in config if line]


def test_every_variable_of_the_service_is_a_setting() -> None:
    names = set(services(STACK)["wxlogin"]["environment"]) - {"WEB_CONCURRENCY"}

    assert {name.removesuffix("_FILE") for name in names} <= {
        settings.name_of(field) for field in dataclasses.fields(Settings)
    }


@pytest.mark.parametrize("name", [STACK, *OVERRIDES])
def test_every_service_of_an_image_gives_up_its_rights(name: str) -> None:
    for service in services(name).values():
        if "image" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
            assert service["restart"] in {"unless-stopped", "no"}


def test_published_ports_are_this_machines_unless_told_otherwise() -> None:
    files = [name for name in (STACK, *OVERRIDES) if "production" not in name]
    ports = [port for name in files for each in services(name).values() for port in each.get("ports", [])]

    assert len(ports) == 3
    assert all(port.startswith("${STACK_ADDRESS:-127.0.0.1}:") for port in ports)


def test_the_tests_know_of_every_password(preparation: dict[str, Any]) -> None:
    assert SECRETS["redis"] == [f"/run/secrets/{user}_password" for user in preparation["USERS"]]


def test_all_that_is_mounted_from_the_project_is_there() -> None:
    mounts = [
        mount.partition(":")[0]
        for name in (STACK, *OVERRIDES)
        for each in services(name).values()
        for mount in each.get("volumes", [])
        if isinstance(mount, str) and mount.startswith("./")
    ]

    assert len(mounts) > 5
    assert [mount for mount in mounts if not (PROJECT / mount).exists()] == []


def test_the_image_takes_in_nothing_but_what_it_is_made_of() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    copied = re.findall(
        r"^COPY (?!--from)(?:--chmod=\d+ )?(.*) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE
    )

    files = {file.rstrip("/") for given in copied for file in given.split()}
    let_in = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert let_in <= files
    assert {file for file in files if not any(f"{file}/".startswith(f"{each}/") for each in let_in)} == set()


class Loader(yaml.SafeLoader):
    """Reads Compose's own tags, ``!override`` and ``!reset``, as what they stand in front of."""


def services(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((PROJECT / name).read_text(), Loader)["services"]  # noqa: S506  # it is safe
    return loaded


def _untagged(loader: Loader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


Loader.add_multi_constructor("!", _untagged)
