"""What the service counts: each metric, through what makes it move, and what is said about them elsewhere."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_in
from prometheus_client.parser import text_string_to_metric_families as metrics_in

from tests.conftest import APPID, Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.servers import PROJECT, RedisServer, free_port, redis_server
from wxlogin import __version__
from wxlogin.config.settings import Settings
from wxlogin.observability.metrics import AUTH_DECISIONS, LOGIN_OUTCOMES, Metrics
from wxlogin.services import Services
from wxlogin.web import errors
from wxlogin.web.app import create_app

EXCHANGE = "/sns/jscode2session"


Count = Callable[..., float]
"""``count(name, label=…)``: the value of one series, 0 if there is none."""


@pytest.fixture
def count(send: Send) -> Count:
    return counting(send)


def counting(send: Send) -> Count:
    """Return what reads one series off a service's metrics."""

    def count(name: str, **labels: str) -> float:
        families = metrics_in(send("GET", "/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return sum(each.value for each in samples if each.name == f"wxlogin_{name}" and each.labels == labels)

    return count


def with_settings(settings: Settings, clock: Clock, sandbox: Sandbox, **changed: object) -> MiniProgram:
    app = create_app(Services.build(dataclasses.replace(settings, **changed), clock=clock))  # type: ignore[arg-type]
    return MiniProgram(in_process(app), sandbox)


# the format


def test_metrics_are_told_in_prometheus_text_format(send: Send) -> None:
    answer = send("GET", "/metrics")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert [family.name for family in metrics_in(answer.text)]


def test_metrics_are_told_in_openmetrics_to_who_asks_for_it(send: Send) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"

    answer = send("GET", "/metrics", headers={"Accept": accept})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics_in(answer.text)  # type: ignore[no-untyped-call]
    assert "wxlogin_logins" in {family.name for family in families}


def test_metrics_are_told_while_redis_and_wechat_are_away(
    settings: Settings, clock: Clock, sandbox: Sandbox
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    user = with_settings(
        settings, clock, sandbox, redis_url=f"redis://{nowhere}/0", wechat_api_url=f"http://{nowhere}"
    )
    user.log_in()

    assert user.get("/metrics").status == 200


def test_two_services_in_one_process_count_for_themselves(
    settings: Settings, clock: Clock, sandbox: Sandbox
) -> None:
    one, other = (with_settings(settings, clock, sandbox) for _ in range(2))

    one.log_in()

    assert counting(one.send)("logins_total", outcome="ok") == 1
    assert counting(other.send)("logins_total", outcome="ok") == 0


def test_asking_for_metrics_is_not_in_the_usual_log(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    send("GET", "/metrics")

    assert caplog.messages == []


def test_the_build_says_which_version_runs(count: Count) -> None:
    assert count("build_info", version=__version__, python=platform.python_version()) == 1


# requests


def test_requests_are_counted_by_route_method_and_status(mini_program: MiniProgram, count: Count) -> None:
    mini_program.log_in()
    mini_program.whoami()
    mini_program.send("GET", "/session")

    assert count("http_requests_total", route="/login", method="POST", status="200") == 1
    assert count("http_requests_total", route="/session", method="GET", status="200") == 1
    assert count("http_requests_total", route="/session", method="GET", status="401") == 1
    assert count("http_request_duration_seconds_count", route="/session") == 2


def test_what_no_route_knows_is_counted_together(send: Send, count: Count) -> None:
    send("GET", "/oCanary")
    send("BREW", "/session")
    send("GET", "/session/../x")

    assert count("http_requests_total", route="unknown", method="other", status="404") == 2
    assert count("http_requests_total", route="unknown", method="other", status="405") == 1


def test_a_handle_in_the_path_is_not_a_label(mini_program: MiniProgram, send: Send) -> None:
    mini_program.log_in()
    [session] = mini_program.get("/sessions").json["sessions"]

    mini_program.send("DELETE", f"/sessions/{session['handle']}", headers={"sessionid": mini_program.stored})

    text = send("GET", "/metrics").text
    assert 'route="/sessions/<handle>"' in text
    assert session["handle"] not in text


def test_a_request_that_fails_late_is_counted_once(
    send: Send, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr("wxlogin.web.flask_session.Session.touch", Mock(side_effect=[OSError, None]))
        status = send("GET", "/healthz").status

    assert status == 500
    assert count("http_request_duration_seconds_count", route="/healthz") == 1
    assert count("http_requests_total", route="/healthz", method="GET", status="500") == 1


# logins and checks


def test_logins_are_counted_by_what_came_of_them(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()
    mini_program.log_in_the_old_way()
    mini_program.log_in_with("unknown")
    sandbox.arm(errcode=40125)
    mini_program.log_in()

    assert count("logins_total", outcome="ok") == 2
    assert count("logins_total", outcome="invalid_code") == 1
    assert count("logins_total", outcome="wechat_rejected_credentials") == 1
    assert count("login_duration_seconds_count") == 4


def test_checks_are_counted_by_what_the_proxy_was_told(
    mini_program: MiniProgram, clock: Clock, count: Count
) -> None:
    mini_program.get("/auth")
    mini_program.log_in()
    mini_program.get("/auth")
    mini_program.get("/auth?appid=wx0000000000000000")
    clock.advance(8 * 86400)
    mini_program.get("/auth")

    told = {decision: count("auth_decisions_total", decision=decision) for decision in AUTH_DECISIONS}
    assert told == {
        "granted": 1,
        "not_logged_in": 1,
        "wrong_app": 1,
        "session_expired": 1,
        "store_unavailable": 0,
    }


def test_outcomes_that_are_there_from_the_start_are_codes_of_ours() -> None:
    codes = {row.code for row in errors._SPECS.values()}

    assert {*LOGIN_OUTCOMES} - {"ok"} <= codes
    assert {*AUTH_DECISIONS} - {"granted"} <= codes


# sessions


def ended(count: Count) -> dict[str, float]:
    causes = ("logout", "other_device", "everywhere", "replaced", "limit", "operator")
    return {cause: number for cause in causes if (number := count("sessions_ended_total", cause=cause))}


def test_sessions_that_begin_are_counted(mini_program: MiniProgram, count: Count) -> None:
    mini_program.log_in()
    mini_program.log_in()

    assert count("sessions_created_total") == 2


def test_logging_out_is_counted_if_somebody_was_logged_in(mini_program: MiniProgram, count: Count) -> None:
    mini_program.log_in()
    mini_program.log_out()
    mini_program.log_out()

    assert ended(count) == {"logout": 1}


def test_logging_in_anew_on_the_same_device_is_counted_as_a_replacement(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()
    headers = {"sessionid": mini_program.stored}
    code = sandbox.issue_code(openid=mini_program.openid)

    mini_program.send("POST", "/login", json={"code": code}, headers=headers)

    assert ended(count) == {"replaced": 1}


def test_logging_in_as_somebody_else_is_counted_as_a_replacement(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()
    code = sandbox.issue_code(openid="oSomebodyElse")

    mini_program.send("POST", "/login", json={"code": code}, headers={"sessionid": mini_program.stored})

    assert ended(count) == {"replaced": 1}


def test_a_session_that_a_code_sent_again_replaces_is_counted_as_that(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    code = sandbox.issue_code(openid=mini_program.openid)
    mini_program.log_in_with(code)
    other = mini_program.log_in()

    mini_program.send("POST", "/login", json={"code": code}, headers={"sessionid": other.session_id})

    assert ended(count) == {"replaced": 1}


def test_too_many_sessions_of_a_user_are_counted(settings: Settings, clock: Clock, sandbox: Sandbox) -> None:
    user = with_settings(settings, clock, sandbox, max_sessions_per_user=2)

    for _ in range(5):
        clock.advance(1)
        user.log_in()

    assert ended(counting(user.send)) == {"limit": 3}


def test_logging_out_everywhere_counts_all_sessions(mini_program: MiniProgram, count: Count) -> None:
    for _ in range(3):
        mini_program.log_in()

    mini_program.send("DELETE", "/sessions", headers={"sessionid": mini_program.stored})

    assert ended(count) == {"everywhere": 3}


def test_logging_out_on_one_device_is_counted_by_which_it_was(mini_program: MiniProgram, count: Count) -> None:
    for _ in range(2):
        mini_program.log_in()
    headers = {"sessionid": mini_program.stored}
    listed = mini_program.get("/sessions").json["sessions"]

    for each in sorted(listed, key=lambda session: bool(session["is_current"])):
        mini_program.send("DELETE", f"/sessions/{each['handle']}", headers=headers)

    assert ended(count) == {"other_device": 1, "logout": 1}


def test_what_an_operator_ends_is_counted_as_that(settings: Settings, clock: Clock, sandbox: Sandbox) -> None:
    user = with_settings(settings, clock, sandbox, admin_token="x" * 32)
    headers = {"Authorization": f"Bearer {'x' * 32}"}
    path = f"/admin/users/{user.openid}/sessions"
    for _ in range(3):
        user.log_in()
    newest = user.send("GET", path, headers=headers).json["sessions"][0]["handle"]

    user.send("DELETE", f"{path}/{newest}", headers=headers)
    user.send("DELETE", path, headers=headers)

    assert ended(counting(user.send)) == {"operator": 3}


# WeChat


def test_calls_to_wechat_are_counted_by_endpoint_and_outcome(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()
    sandbox.arm(body="<html>")
    mini_program.log_in()
    mini_program.log_in_with("unknown")

    assert count("wechat_calls_total", endpoint=EXCHANGE, outcome="ok") == 1
    assert count("wechat_calls_total", endpoint=EXCHANGE, outcome="unusable_answer") == 1
    assert count("wechat_calls_total", endpoint=EXCHANGE, outcome="invalid_code") == 1
    assert count("wechat_call_duration_seconds_count", endpoint=EXCHANGE) == 3


def test_an_open_breaker_is_told_with_what_it_turned_away_and_that_it_closed(
    settings: Settings, clock: Clock, sandbox: Sandbox
) -> None:
    user = with_settings(settings, clock, sandbox)
    count = counting(user.send)
    sandbox.arm(status=500, times=5)
    for _ in range(6):
        user.log_in()

    during = count("wechat_circuit_breakers_open", endpoint=EXCHANGE)
    turned_away = count("wechat_calls_rejected_total", reason="breaker")

    assert (during, turned_away) == (1, 1)
    while user.log_in().status != 200:
        pass
    assert count("wechat_circuit_breakers_open", endpoint=EXCHANGE) == 0


def test_requests_that_find_no_place_in_the_bulkhead_are_counted(
    settings: Settings, clock: Clock, sandbox: Sandbox
) -> None:
    services = Services.build(dataclasses.replace(settings, threads=1), clock=clock)
    user = MiniProgram(in_process(create_app(services)), sandbox)

    with services.login.bulkhead.slot():
        refused = user.log_in()

    assert refused.error["code"] == "wechat_unavailable"
    assert counting(user.send)("wechat_calls_rejected_total", reason="bulkhead") == 1


def test_the_age_and_the_end_of_the_access_token_are_told(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()

    mini_program.post("/phone-number", json={"code": sandbox.phone_code(openid=mini_program.openid)})

    made = count("access_token_refreshed_timestamp_seconds", appid=APPID)
    ends = count("access_token_expires_timestamp_seconds", appid=APPID)
    assert count("access_token_refreshes_total", appid=APPID, outcome="ok") == 1
    assert made > 1.7e9
    assert 0 < ends - made <= 7200


def test_an_access_token_that_is_not_to_be_had_is_counted(
    mini_program: MiniProgram, sandbox: Sandbox, count: Count
) -> None:
    mini_program.log_in()
    sandbox.arm(path="/cgi-bin/stable_token", errcode=40164)

    mini_program.post("/phone-number", json={"code": sandbox.phone_code(openid=mini_program.openid)})

    assert count("access_token_refreshes_total", appid=APPID, outcome="failed") == 1


# Redis


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def test_calls_to_redis_are_counted(mini_program: MiniProgram, count: Count) -> None:
    mini_program.log_in()
    before = count("redis_calls_total", outcome="ok")

    mini_program.get("/auth")

    assert count("redis_calls_total", outcome="ok") - before == 1
    assert count("redis_call_duration_seconds_count") == before + 1


def test_calls_to_redis_that_fail_are_counted_by_what_was_wrong(
    settings: Settings, clock: Clock, sandbox: Sandbox, store: RedisServer
) -> None:
    user = with_settings(settings, clock, sandbox, redis_url=store.url)
    count = counting(user.send)
    user.log_in()
    store.client().config_set("maxmemory", "1")
    user.log_in()
    store.freeze()
    for _ in range(4):
        user.get("/auth")

    assert count("redis_circuit_breakers_open") == 1
    store.stop()
    while user.get("/auth").status == 503 and not count("redis_calls_total", outcome="no_connection"):
        pass
    for outcome in ("refused", "timeout", "turned_away", "no_connection"):
        assert count("redis_calls_total", outcome=outcome) >= 1
    store.start()
    while user.get("/auth").status == 503:
        pass
    assert count("redis_circuit_breakers_open") == 0


# limits


def test_requests_over_a_limit_are_counted_by_whose_it_is(
    settings: Settings, clock: Clock, sandbox: Sandbox
) -> None:
    user = with_settings(settings, clock, sandbox, login_limit_per_address="3/hour", login_limit_per_user="2/hour")

    for _ in range(5):
        user.log_in()

    count = counting(user.send)
    assert count("rate_limited_requests_total", scope="login", subject="user") == 1
    assert count("rate_limited_requests_total", scope="login", subject="address") == 2


def test_too_many_decryptions_that_fail_are_counted(mini_program: MiniProgram, count: Count) -> None:
    mini_program.log_in()

    for _ in range(21):
        mini_program.post("/user-data/decrypt", json={"encryptedData": "A" * 22 + "==", "iv": "A" * 22 + "=="})

    assert count("rate_limited_requests_total", scope="decryption", subject="user") == 1


# what others say about the metrics


def known_metrics() -> dict[str, set[str]]:
    """Return the names of all samples and their labels."""
    metrics = Metrics()
    names: dict[str, set[str]] = {}
    for children in vars(metrics).values():
        metric = getattr(children, "_metric", None)
        if metric is not None:
            labels = set(metric._labelnames)
            for family in metric.describe():
                endings = {"counter": ["_total"], "gauge": [""]}.get(family.type, ["_bucket", "_count", "_sum"])
                for ending in endings:
                    names[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    return names


def selectors_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    for name, selector in re.findall(r"\b(wxlogin_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"instance", "job"}


def grouped_by(expression: str) -> set[str]:
    lists = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for each in lists for label in each.split(",")} - {"instance", "job"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((PROJECT / "deploy/grafana/wxlogin.json").read_text())["panels"]
    return found


def dashboards_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def rules() -> str:
    return (PROJECT / "deploy/prometheus/wxlogin.rules.yml").read_text()


def expressions() -> list[str]:
    return [*dashboards_expressions(), *re.findall(r"expr: (.*\n(?: {10,}.*\n)*)", rules())]


def test_the_dashboard_and_the_rules_name_only_metrics_and_labels_that_there_are() -> None:
    known = known_metrics()

    for expression in expressions():
        used = [*selectors_in(expression)]
        available = {label for name, _ in used for label in known[name]}
        assert all(labels <= known[name] for name, labels in used), expression
        assert not used or grouped_by(expression) <= available, expression


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for expression in dashboards_expressions() for name, _ in selectors_in(expression)}

    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known_metrics()}
    assert families == {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}


def test_every_recorded_series_that_is_used_is_recorded() -> None:
    recorded = set(re.findall(r"record: (\S+)", rules()))

    text = "\n".join([*dashboards_expressions(), rules()])
    assert set(re.findall(r"\bwxlogin:[\w:]+", text)) == recorded


def test_the_dashboards_panels_have_places_and_ids_of_their_own() -> None:
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}

    assert len(places) == len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_has_a_runbook_that_there_is() -> None:
    alerts = re.split(r"- alert: ", rules())[1:]
    headings = re.findall(r"^#+ (.*)$", (PROJECT / "docs/operations.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert alerts
    for alert in alerts:
        assert re.search(r"summary: \S", alert), alert
        assert re.search(r"description: \S", alert), alert
        [runbook] = re.findall(r"runbook: docs/operations\.md#(\S+)", alert)
        assert runbook in anchors


def test_the_page_on_metrics_lists_each_with_its_labels() -> None:
    rows = re.findall(r"^\| `(wxlogin_\w+)` \| (.*?) \| (.*?) \|", (PROJECT / "docs/metrics.md").read_text(), re.M)

    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    known: dict[str, tuple[str, set[str]]] = {}
    for name, labels in known_metrics().items():
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        kind = "counter" if name.endswith("_total") else "gauge" if name == family else "histogram"
        known[family] = (kind, labels - {"le"})
    assert listed == known
