"""The alerts fire when they should, as Prometheus's own tool sees it."""

from __future__ import annotations

import re
import subprocess

from tests.drivers import MiniProgram, Send
from tests.servers import PROJECT, program

RULES = "deploy/prometheus/wxlogin.rules.yml"


def promtool(*arguments: str, text: str = "") -> str:
    """Return what promtool says, or fail if it finds something wrong."""
    command = [program("promtool", package="prometheus"), *arguments]
    done = subprocess.run(command, cwd=PROJECT, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_understands_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_prometheus_understands_its_configuration() -> None:
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml")


def test_alerts_fire_when_they_should_and_not_when_they_should_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/alerts.yml")


def test_every_alert_is_seen_to_fire() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (PROJECT / RULES).read_text()))
    firing = r'alertname: (\w+)\n +exp_alerts|expr: ALERTS\{alertname="(\w+)", alertstate="firing"'

    fired = {one or other for one, other in re.findall(firing, (PROJECT / "tests/alerts.yml").read_text())}

    assert fired == alerts


def test_prometheus_finds_nothing_wrong_with_the_metrics(send: Send, mini_program: MiniProgram) -> None:
    mini_program.log_in()
    text = send("GET", "/metrics").text

    said = promtool("check", "metrics", text=text)

    assert said == ""
