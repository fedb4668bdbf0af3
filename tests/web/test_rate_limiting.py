"""Limits through HTTP: who is counted, together with what, behind which proxies, and what the refused are told."""

from __future__ import annotations

import dataclasses
import logging
import time
from base64 import b64encode
from collections import Counter
from typing import Any

import pytest
import time_machine

from tests.conftest import LIMITS, environment
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from wxlogin.config.settings import Settings, load
from wxlogin.services import Services
from wxlogin.web.app import create_app

SOMEBODY = "oSomebodyElse0123456789abcde"
UNDECIPHERABLE = {"encryptedData": b64encode(bytes(32)).decode(), "iv": b64encode(bytes(16)).decode()}
SIGNED = {"rawData": "{}", "signature": "0" * 40}

# All that has no limit: it is asked by machines all the time, or costs no more than finding a session.
UNLIMITED = {
    "/",
    "/auth",
    "/session",
    "/sessions",
    "/sessions/<handle>",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
}


def service(settings: Settings, **changed: Any) -> Send:
    return in_process(create_app(Services.build(dataclasses.replace(settings, **changed))))


def log_in_with_junk(send: Send, *, address: str = "192.0.2.1", **headers: str) -> Answer:
    """Try to log in with what is no code, so that WeChat is not asked."""
    return send(
        "POST",
        "/login",
        json={"code": "no code"},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_base={"REMOTE_ADDR": address},
    )


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def logged_in(send: Send, sandbox: Sandbox, openid: str = MiniProgram.openid) -> MiniProgram:
    user = MiniProgram(send, sandbox, openid=openid)
    assert user.log_in().status == 200
    return user


def post(user: MiniProgram, path: str, body: dict[str, str]) -> Answer:
    return user.send("POST", path, headers={"sessionid": user.stored}, json=body)


def decrypt(user: MiniProgram) -> Answer:
    return post(user, "/user-data/decrypt", UNDECIPHERABLE)


def verify(user: MiniProgram) -> Answer:
    return post(user, "/user-data/verify", SIGNED)


# what the refused are told


def test_who_asks_too_often_is_told_to_wait(settings: Settings) -> None:
    send = service(settings, login_limit_per_address="1/minute")
    log_in_with_junk(send)

    answer = log_in_with_junk(send)

    assert answer.status == 429
    assert (answer.error["code"], answer.error["retryable"]) == ("rate_limited", True)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["X-Request-Id"] == answer.error["request_id"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_no_header_tells_how_much_is_left(settings: Settings) -> None:
    send = service(settings, login_limit_per_address="1/minute")

    answers = [log_in_with_junk(send), log_in_with_junk(send)]

    assert statuses(answers) == [400, 429]
    assert "ratelimit" not in "".join(str(answer.headers) for answer in answers).lower()


def test_when_the_window_is_over_all_is_as_before(settings: Settings) -> None:
    with time_machine.travel(time.time(), tick=False) as now:
        send = service(settings, login_limit_per_address="1/minute")
        log_in_with_junk(send)
        retry_after_seconds = int(log_in_with_junk(send).headers["Retry-After"])

        now.shift(retry_after_seconds - 1)
        assert log_in_with_junk(send).status == 429

        now.shift(1.001)
        assert log_in_with_junk(send).status == 400


def test_of_two_hundred_codes_in_a_minute_most_do_not_reach_wechat(settings: Settings, sandbox: Sandbox) -> None:
    with time_machine.travel(time.time(), tick=False) as now:
        send = service(settings, login_limit_per_address="20/minute")
        user = MiniProgram(send, sandbox)

        answers = [user.log_in() for _ in range(200)]

        assert Counter(statuses(answers)) == {200: 20, 429: 180}
        assert len(sandbox.calls()) == 20
        now.shift(61)
        assert user.log_in().status == 200


def test_the_limits_are_on_unless_they_are_switched_off(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    for name, value in environment(redis_url="memory://", wechat_api_url=settings.wechat_api_url).items():
        if name not in LIMITS:
            monkeypatch.setenv(name, value)
    send = service(load())

    assert Counter(log_in_with_junk(send).status for _ in range(200)) == {400: 90, 429: 110}


# addresses


def test_both_ways_to_log_in_are_counted_together(settings: Settings, sandbox: Sandbox) -> None:
    user = MiniProgram(service(settings, login_limit_per_address="2/minute"), sandbox)

    answers = [user.log_in(), user.log_in_the_old_way(), user.log_in(), user.log_in_the_old_way()]

    assert statuses(answers) == [200, 200, 429, 429]


def test_another_address_has_a_limit_of_its_own(settings: Settings) -> None:
    send = service(settings, login_limit_per_address="1/minute")

    answers = [log_in_with_junk(send, address=f"192.0.2.{number}") for number in (1, 1, 2)]

    assert statuses(answers) == [400, 429, 400]


def test_neighbours_in_an_ipv6_network_are_one_address(settings: Settings) -> None:
    send = service(settings, login_limit_per_address="1/minute")

    answers = [
        log_in_with_junk(send, address=address) for address in ("2001:db8::1", "2001:db8::2", "2001:db9::1")
    ]

    assert statuses(answers) == [400, 429, 400]


def test_clients_without_an_address_are_counted_as_one(settings: Settings) -> None:
    send = service(settings, login_limit_per_address="1/minute")

    answers = [log_in_with_junk(send, address=address) for address in ("", "/run/wxlogin.sock")]

    assert statuses(answers) == [400, 429]


def test_the_refused_cost_nothing(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings, login_limit_per_address="1/minute")
    log_in_with_junk(send, address="127.0.0.1")

    unread = send("POST", "/login", data=b"{", content_type="text/csv")
    good = MiniProgram(send, sandbox).log_in()

    assert (unread.status, good.status) == (429, 429)
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", "/login"), ("OPTIONS", "/login"), ("PUT", "/login"), ("HEAD", "/getOpenid")]
)
def test_methods_that_run_no_login_are_not_counted(settings: Settings, method: str, path: str) -> None:
    send = service(settings, login_limit_per_address="1/minute")

    assert {send(method, path).status for _ in range(5)} == {405}
    assert log_in_with_junk(send, address="127.0.0.1").status == 400


def test_every_route_has_a_limit_or_is_known_to_have_none(settings: Settings) -> None:
    app = create_app(
        Services.build(
            dataclasses.replace(
                settings,
                login_limit_per_address="1/hour",
                user_data_limit_per_address="1/hour",
                phone_number_limit_per_address="1/hour",
            )
        )
    )

    limited = {rule.rule for rule in app.url_map.iter_rules() if _is_limited(in_process(app), rule)}

    assert limited == {rule.rule for rule in app.url_map.iter_rules()} - UNLIMITED
    assert {"/login", "/getOpenid", "/user-data/decrypt", "/user-data/verify"} <= limited


def _is_limited(send: Send, rule: Any) -> bool:
    method = (rule.methods - {"HEAD", "OPTIONS"}).pop()
    return 429 in {send(method, rule.rule).status for _ in range(2)}


def test_two_services_in_one_process_do_not_share_their_counts(settings: Settings) -> None:
    one, other = (service(settings, login_limit_per_address="1/minute") for _ in range(2))

    assert [log_in_with_junk(one).status, log_in_with_junk(other).status] == [400, 400]


# users


def test_a_user_who_asks_too_often_is_refused_and_others_are_not(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings, user_data_limit_per_user="2/minute")
    user, other = logged_in(send, sandbox), logged_in(send, sandbox, SOMEBODY)

    answers = [verify(user), decrypt(user), verify(user), decrypt(user), verify(other)]

    assert statuses(answers) == [200, 409, 429, 429, 200]


@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("user_data_limit_per_user", "/user-data/verify"),
        ("user_data_limit_per_user", "/session-key/check"),
        ("phone_number_limit_per_user", "/phone-number"),
    ],
)
def test_each_resource_has_a_limit_for_users(settings: Settings, sandbox: Sandbox, limit: str, path: str) -> None:
    user = logged_in(service(settings, **{limit: "1/minute"}), sandbox)

    answers = [post(user, path, {"no such field": ""}) for _ in range(2)]

    assert statuses(answers) == [400, 429]


def test_a_login_is_not_counted_for_whom_its_request_has_a_session_of(
    settings: Settings, sandbox: Sandbox
) -> None:
    user = logged_in(service(settings, login_limit_per_user="2/minute"), sandbox)
    headers = {"sessionid": user.stored}

    answers = [user.send("POST", "/login", json={"code": "no code"}, headers=headers) for _ in range(5)]

    assert set(statuses(answers)) == {400}


def test_all_devices_of_a_user_are_counted_together(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings, user_data_limit_per_user="1/minute")

    answers = [verify(logged_in(send, sandbox)), verify(logged_in(send, sandbox))]

    assert statuses(answers) == [200, 429]


def test_nobody_can_use_up_the_limit_of_somebody_else(settings: Settings, sandbox: Sandbox) -> None:
    user = logged_in(service(settings, user_data_limit_per_user="1/minute"), sandbox)
    made_up = user.stored.partition("=")[2][:16] + "A" * 43
    attacker = MiniProgram(user.send, sandbox, stored=made_up)

    assert {verify(attacker).status for _ in range(5)} == {401}
    assert verify(user).status == 200


def test_who_is_not_logged_in_is_told_so(settings: Settings, sandbox: Sandbox) -> None:
    nobody = MiniProgram(service(settings, user_data_limit_per_user="1/minute"), sandbox)

    assert {verify(nobody).error["code"] for _ in range(3)} == {"not_logged_in"}


def test_the_address_is_counted_first(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings, user_data_limit_per_address="1/hour", user_data_limit_per_user="2/minute")
    user = logged_in(send, sandbox)

    with time_machine.travel(time.time(), tick=False) as now:
        answers = [verify(user) for _ in range(5)]
        now.shift(3601)

        assert statuses(answers) == [200, 429, 429, 429, 429]
        assert verify(user).status == 200


def test_a_user_who_logs_in_too_often_is_refused_wherever_from(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings, login_limit_per_user="2/minute")

    answers = [MiniProgram(send, sandbox).log_in() for _ in range(3)]
    other = MiniProgram(send, sandbox, openid=SOMEBODY).log_in()

    assert statuses([*answers, other]) == [200, 200, 429, 200]
    assert (answers[2].error["code"], answers[2].set_cookie) == ("rate_limited", "")
    assert answers[2].error["retryable"] is False  # the code is spent
    assert int(answers[2].headers["Retry-After"]) >= 1


def test_nobody_is_named_in_the_log(
    settings: Settings, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    send = service(settings, user_data_limit_per_address="2/minute", user_data_limit_per_user="1/minute")
    with caplog.at_level(logging.DEBUG):
        user = logged_in(send, sandbox)
        answers = [verify(user) for _ in range(3)]

    assert statuses(answers) == [200, 429, 429]
    logged = "\n".join(str(vars(record)) for record in caplog.records if not record.name.startswith("werkzeug"))
    assert "ratelimit 2 per 1 minute (address:127.0.0.1) exceeded at endpoint: user_data" in logged
    assert user.stored.partition("=")[2].partition(";")[0][16:] not in logged
    assert user.openid not in logged


# decryptions that fail


def test_after_twenty_failures_a_user_can_decrypt_nothing(settings: Settings, sandbox: Sandbox) -> None:
    with time_machine.travel(time.time(), tick=False) as now:
        user = logged_in(service(settings), sandbox)

        assert {decrypt(user).status for _ in range(20)} == {409}

        good = sandbox.user_data(openid=user.openid, kind="werun")
        refused = [decrypt(user), post(user, "/user-data/decrypt", _encrypted(good))]
        assert [answer.error["code"] for answer in refused] == ["rate_limited", "rate_limited"]
        assert 1 <= int(refused[0].headers["Retry-After"]) <= 600
        assert verify(user).status == 200
        now.shift(601)
        assert post(user, "/user-data/decrypt", _encrypted(good)).status == 200


def test_a_new_login_does_not_allow_more_failures(settings: Settings, sandbox: Sandbox) -> None:
    send = service(settings)
    user = logged_in(send, sandbox)
    for _ in range(20):
        decrypt(user)

    assert decrypt(logged_in(send, sandbox)).status == 429


def test_what_decrypts_is_not_counted(settings: Settings, sandbox: Sandbox) -> None:
    user = logged_in(service(settings), sandbox)
    good = _encrypted(sandbox.user_data(openid=user.openid, kind="werun"))

    assert {post(user, "/user-data/decrypt", good).status for _ in range(25)} == {200}


def _encrypted(data: dict[str, str]) -> dict[str, str]:
    return {name: data[name] for name in ("encryptedData", "iv")}


# proxies


@pytest.mark.parametrize(
    ("trusted_proxies", "first", "second", "are_one"),
    [
        pytest.param(0, "198.51.100.1", "198.51.100.2", True, id="nobody is believed"),
        pytest.param(1, "198.51.100.1", "198.51.100.2", False, id="the proxy is believed"),
        pytest.param(1, "203.0.113.1, 198.51.100.1", "203.0.113.2, 198.51.100.1", True, id="its client isn't"),
        pytest.param(1, "198.51.100.1", "198.51.100.1:40000", True, id="a port is no other client"),
        pytest.param(1, "", "198.51.100.1", False, id="without a value it is the peer"),
        pytest.param(1, "junk", "more junk", True, id="junk is one client"),
        pytest.param(2, "198.51.100.1, 10.0.0.1", "198.51.100.1, 10.0.0.2", True, id="the second is believed"),
        pytest.param(2, "198.51.100.1, 10.0.0.1", "198.51.100.2, 10.0.0.1", False, id="the second tells apart"),
        pytest.param(
            2, "9.9.9.9, 198.51.100.1, 10.0.0.1", "8.8.8.8, 198.51.100.1, 10.0.0.1", True, id="the third"
        ),
        pytest.param(2, "198.51.100.1", "198.51.100.2", True, id="fewer values than proxies: the peer"),
    ],
)
def test_who_is_counted_behind_proxies(
    settings: Settings, trusted_proxies: int, first: str, second: str, *, are_one: bool
) -> None:
    send = service(settings, login_limit_per_address="1/minute", trusted_proxies=trusted_proxies)

    answers = [log_in_with_junk(send, X_Forwarded_For=value) for value in (first, second)]

    assert statuses(answers) == [400, 429 if are_one else 400]


@pytest.mark.parametrize(
    ("trusted_proxies", "headers", "warned"),
    [
        (0, {"X_Forwarded_For": "198.51.100.1"}, True),
        (0, {}, False),
        (1, {"X_Forwarded_For": "198.51.100.1"}, False),
    ],
)
def test_a_proxy_that_is_not_trusted_and_over_the_limit_is_a_warning(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    trusted_proxies: int,
    headers: dict[str, str],
    *,
    warned: bool,
) -> None:
    send = service(settings, login_limit_per_address="1/minute", trusted_proxies=trusted_proxies)

    answers = [log_in_with_junk(send, **headers), log_in_with_junk(send, **headers)]

    assert statuses(answers) == [400, 429]
    assert ("WXLOGIN_TRUSTED_PROXIES" in caplog.text) == warned


@pytest.mark.parametrize("name", ["X_Real_IP", "Forwarded", "X_Client_IP", "CF_Connecting_IP", "True_Client_IP"])
@pytest.mark.parametrize("trusted_proxies", [0, 1, 2])
def test_no_other_header_tells_who_asks(settings: Settings, trusted_proxies: int, name: str) -> None:
    send = service(settings, login_limit_per_address="1/minute", trusted_proxies=trusted_proxies)

    answers = [log_in_with_junk(send, **{name: value}) for value in ("198.51.100.1", "for=198.51.100.2")]

    assert statuses(answers) == [400, 429]


def test_an_operators_guesses_are_counted_by_who_connects(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    send = service(settings, trusted_proxies=1, admin_token="the-operators-token")

    def guess(number: int, token: str = "wrong") -> Answer:
        headers = {"X-Forwarded-For": f"198.51.100.{number}", "Authorization": f"Bearer {token}"}
        return send(
            "GET", f"/admin/users/{SOMEBODY}/sessions", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"}
        )

    known = guess(0, "the-operators-token")
    guesses = [guess(number) for number in range(11)]

    assert (known.status, statuses(guesses)) == (200, [401] * 10 + [429])
    assert "admin token from 192.0.2.1" in {getattr(record, "operator", "") for record in caplog.records}
