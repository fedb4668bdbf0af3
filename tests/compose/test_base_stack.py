"""`docker compose up` on a fresh clone: what users get through nginx's port, and what nobody gets."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.compose.stack import Stack, is_served, run
from tests.drivers import MiniProgram
from tests.sandbox.simulator.drivers import Simulator
from tests.servers import PROJECT, wait_until

PUBLISHED = {"nginx": "8443/tcp", "sandbox": "8001/tcp"}
LONG_RUNNING = {"nginx", "wxlogin", "redis", "backend", "sandbox"}


def test_a_user_who_logged_in_reaches_the_protected_back_end(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    answer = mini_program.get("/api/")

    assert answer.status == 200
    assert answer.json["openid"] == mini_program.openid


@pytest.mark.parametrize("name", ["X-WX-OPENID", "x-wx-openid", "X_WX_OPENID", "X-WX-FROM-OPENID"])
def test_a_forged_identity_is_not_believed(mini_program: MiniProgram, name: str) -> None:
    forged = {name: "oSomebodyElse"}
    stranger = mini_program.send("GET", "/api/", headers=forged)
    mini_program.log_in()

    answer = mini_program.send("GET", "/api/", headers={**forged, "sessionid": mini_program.stored})

    assert stranger.status == 401
    assert answer.json["openid"] == mini_program.openid


def test_after_logging_out_the_back_end_is_out_of_reach(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    assert mini_program.log_out().status == 204

    answer = mini_program.get("/api/")
    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")


@pytest.mark.parametrize("path", ["/auth", "/metrics", "/readyz", "/admin/users/o/sessions"])
def test_what_is_for_operators_is_not_reached_from_outside(mini_program: MiniProgram, path: str) -> None:
    assert mini_program.get(path).status == 404


def test_a_client_is_counted_by_its_own_address(stack: Stack, mini_program: MiniProgram) -> None:
    mini_program.log_in()

    counters = stack.ask_redis("--raw", "keys", "wxlogin:limit:*")

    gateways = [net["Gateway"] for net in stack.containers()["nginx"]["NetworkSettings"]["Networks"].values()]
    assert any(gateway in counters for gateway in gateways if gateway)


def test_while_redis_is_stopped_the_answer_is_503_and_the_session_outlives_it(
    stack_to_break: Stack, mini_program: MiniProgram
) -> None:
    mini_program.log_in()

    stack_to_break.compose("stop", "redis")
    away = mini_program.get("/api/")
    stack_to_break.compose("start", "redis")

    assert (away.status, away.error["retryable"]) == (503, True)
    assert int(away.headers["Retry-After"]) >= 1
    wait_until(lambda: is_served(mini_program), what="the session is there again")


def test_a_restart_of_the_service_logs_nobody_out(stack: Stack, mini_program: MiniProgram) -> None:
    mini_program.log_in()

    stack.compose("restart", "wxlogin")

    wait_until(lambda: is_served(mini_program), what="the session is there again")


def test_starting_again_makes_no_new_secrets(stack: Stack) -> None:
    before = stack.secrets()

    stack.compose("run", "--rm", "prepare")

    assert stack.secrets() == before


def test_the_simulator_is_there_and_logs_in(stack: Stack) -> None:
    simulator = Simulator(stack.sandbox.url, "http://wxlogin:8000")

    assert 'src="simulator/page.mjs"' in simulator.get("/simulator").text
    assert "createWxLogin" in simulator.get("/simulator/wxlogin.js").text
    assert simulator.log_in().startswith("sessionid=")


def test_redis_refuses_the_service_nothing_that_it_asks(stack: Stack, mini_program: MiniProgram) -> None:
    mini_program.log_in()
    data = stack.sandbox.user_data(openid=mini_program.openid)
    mini_program.post("/user-data/decrypt", json={key: data[key] for key in ("encryptedData", "iv")})
    code = stack.sandbox.phone_code(openid=mini_program.openid)
    assert mini_program.post("/phone-number", json={"code": code}).status == 200
    assert mini_program.get("/sessions").status == 200
    mini_program.log_out()

    assert stack.ask_redis("acl", "log").strip() == ""


def test_redis_keeps_what_it_has(stack: Stack) -> None:
    policy = stack.ask_redis("--raw", "config", "get", "maxmemory-policy").split()
    persistence = stack.ask_redis("--raw", "config", "get", "appendonly").split()

    assert (policy[1], persistence[1]) == ("noeviction", "yes")


def test_containers_run_without_rights(stack: Stack) -> None:
    containers = stack.containers()

    assert set(containers) == LONG_RUNNING
    for container in containers.values():
        host = container["HostConfig"]
        assert int(container["Config"]["User"].partition(":")[0]) > 0
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"]
        assert host["LogConfig"]["Config"]["max-size"]


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_no_container_can_change_its_own_files(stack: Stack, service: str) -> None:
    tried = stack.execute(service, "sh", "-c", "id -u; touch /srv/x /etc/x /usr/x 2>&1 || true")

    user, *refusals = tried.splitlines()
    assert user != "0"
    assert len([line for line in refusals if "Read-only file system" in line]) == 3


def test_only_nginx_and_the_sandbox_are_published_and_only_on_this_machine(stack: Stack) -> None:
    published = {
        service: {port: [bound["HostIp"] for bound in bindings] for port, bindings in ports.items() if bindings}
        for service, container in stack.containers().items()
        if (ports := container["NetworkSettings"]["Ports"])
    }

    assert {service: ports for service, ports in published.items() if ports} == {
        service: {port: ["127.0.0.1"]} for service, port in PUBLISHED.items()
    }


def test_what_docker_tells_and_logs_has_no_secret(stack: Stack, mini_program: MiniProgram) -> None:
    mini_program.log_in()
    mini_program.get("/api/")
    mini_program.log_in_the_old_way()
    told = (
        stack.compose("logs") + stack.compose("config") + run("docker", "history", "--no-trunc", "wxlogin:local")
    )
    told += run("docker", "inspect", *stack.compose("ps", "--all", "--quiet").split(), "wxlogin:local")

    session_id = mini_program.stored.partition("=")[2].partition(";")[0]
    for secret in [*stack.secrets(), session_id, "leaked-long-ago"]:
        assert len(secret) > 10
        assert secret not in told


@pytest.mark.parametrize("name", ["cluster", "sentinel", "observability", "production"])
def test_compose_understands_each_override(name: str) -> None:
    wanted = ("STACK_SERVER_NAME", "STACK_CERTIFICATES", "STACK_APPID", "STACK_APP_SECRET_FILE")

    files = ["--file", "docker-compose.yml", "--file", f"deploy/compose/{name}.yml"]
    run("docker", "compose", *files, "config", "--quiet", environment=dict.fromkeys(wanted, "x"))


def test_the_lines_of_the_readme_print_what_it_says(stack: Stack, tmp_path: Path) -> None:
    section = (PROJECT / "README.md").read_text().partition("\n## Docker\n")[2].partition("\n## ")[0]
    console = section.partition("```console\n")[2].partition("```")[0]
    steps = re.findall(r"^\$ (curl .*)\n((?:[^$].*\n)*)", console, re.MULTILINE)

    assert len(steps) == 4
    for command, expected in steps:
        here = _with_what_is_the_tests(command, stack, tmp_path)
        printed = subprocess.check_output(["bash", "-c", here], text=True)
        assert re.fullmatch(re.escape(expected.strip()).replace("…", ".*"), printed.strip()), printed


def _with_what_is_the_tests(command: str, stack: Stack, folder: Path) -> str:
    ours = command.replace("https://localhost:8443", stack.url).replace("http://127.0.0.1:8001", stack.sandbox.url)
    return ours.replace("/tmp/jar", str(folder / "jar"))
