"""The endpoints that are about neither logins, tokens nor keys."""

from typing import Any

import pytest

from tests.sandbox.drivers import (
    APPID,
    CHECK,
    EXCHANGE,
    OTHER_APPID,
    OTHER_CREDENTIALS,
    PHONE_NUMBER,
    SECRET,
    Clock,
    Sandbox,
    signed_query,
)

PAID = "/wxa/getpaidunionid"
PLUGIN = "/wxa/getpluginopenpid"
RISK = "/wxa/getuserriskrank"
RID = "/cgi-bin/openapi/rid/get"
CLEAR = "/cgi-bin/clear_quota"
CLEAR_BY_SECRET = "/cgi-bin/clear_quota/v2"
WITH_TOKEN = [
    *(("GET", path) for path in (PAID, "/cgi-bin/getcallbackip", "/cgi-bin/get_api_domain_ip")),
    *(("POST", path) for path in (PLUGIN, RISK, RID, CLEAR)),
]


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
@pytest.mark.parametrize(("token", "errcode"), [({}, 41001), ({"access_token": "made-up"}, 40001)])
def test_a_token_is_needed(sandbox: Sandbox, method: str, path: str, token: dict[str, str], errcode: int) -> None:
    answer = sandbox.client.open(path, method=method, query_string=token, json={})

    assert answer.get_json(force=True)["errcode"] == errcode


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
def test_the_other_method_is_refused(sandbox: Sandbox, method: str, path: str) -> None:
    other, errcode = ("POST", 43001) if method == "GET" else ("GET", 43002)

    assert sandbox.client.open(path, method=other).get_json(force=True)["errcode"] == errcode


@pytest.mark.parametrize("path", [PLUGIN, RISK, RID, CLEAR, PHONE_NUMBER])
@pytest.mark.parametrize(("body", "errcode"), [(b"", 44002), (b"{", 47001), (b"[]", 47001)])
def test_what_is_posted_has_to_be_a_json_object(sandbox: Sandbox, path: str, body: bytes, errcode: int) -> None:
    query = {"access_token": sandbox.fetch_token()}

    answer = sandbox.client.post(path, query_string=query, data=body)

    assert answer.get_json(force=True)["errcode"] == errcode


@pytest.mark.parametrize("order", [{}, {"transaction_id": "1"}, {"mch_id": "1", "out_trade_no": "2"}])
def test_who_has_paid_has_a_unionid(sandbox: Sandbox, order: dict[str, str]) -> None:
    sandbox.log_in(openid="o-1", unionid="u-1")

    answer = sandbox.get(PAID, {"access_token": sandbox.fetch_token(), "openid": "o-1", **order})

    assert answer == {"errcode": 0, "errmsg": "ok", "unionid": "u-1"}


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"openid": "nobody"}, 40003),
        ({"openid": "o-1"}, 89002),
        ({"openid": "o-1", "mch_id": "1"}, 89300),
        ({"openid": "o-1", "out_trade_no": "1"}, 89300),
    ],
)
def test_a_paid_unionid_is_refused(sandbox: Sandbox, query: dict[str, str], errcode: int) -> None:
    sandbox.log_in(openid="o-1")

    assert sandbox.get(PAID, {"access_token": sandbox.fetch_token(), **query})["errcode"] == errcode


def openpid(sandbox: Sandbox, code: str) -> Any:
    return sandbox.post(PLUGIN, {"code": code}, access_token=sandbox.fetch_stable_token())


def test_a_plugins_user_has_the_same_openpid_each_time_and_it_is_no_openid(sandbox: Sandbox) -> None:
    first, second, other = (openpid(sandbox, sandbox.code(openid=user)) for user in ("o-1", "o-1", "o-2"))

    assert first == second
    assert first["openpid"] not in {"o-1", other["openpid"]}


def test_a_plugins_code_works_once(sandbox: Sandbox) -> None:
    code = sandbox.code()
    openpid(sandbox, code)

    used = openpid(sandbox, code)
    assert used["errcode"] == 1007
    assert used["errmsg"].startswith(" rid: ")
    assert openpid(sandbox, "unknown")["errcode"] == 1007
    assert openpid(sandbox, "")["errcode"] == 1001


def risk(sandbox: Sandbox, **changes: Any) -> Any:
    asked = {"appid": APPID, "openid": "o-1", "scene": 0, "client_ip": "127.0.0.1"}
    return sandbox.post(RISK, asked | changes, access_token=sandbox.fetch_stable_token())


def test_nobody_is_risky(sandbox: Sandbox) -> None:
    sandbox.log_in(openid="o-1")

    first, second = risk(sandbox), risk(sandbox)

    assert isinstance(first.pop("unoin_id"), int)
    assert first == {"errcode": 0, "errmsg": "getuserriskrank succ", "risk_rank": 0}
    assert second["errcode"] == 0


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"openid": "nobody"}, 40003),
        ({"scene": 3}, 40129),
        ({"scene": 4}, 40129),
        ({"scene": None}, 40129),
        ({"appid": "wx"}, 43104),
    ],
)
def test_a_risk_rank_is_refused(sandbox: Sandbox, changes: dict[str, Any], errcode: int) -> None:
    sandbox.log_in(openid="o-1")

    assert risk(sandbox, **changes)["errcode"] == errcode


@pytest.mark.parametrize(("age", "errcode"), [(1799, 0), (1800, 61010)])
def test_the_risk_of_who_was_not_here_lately_is_not_told(
    sandbox: Sandbox, clock: Clock, age: float, errcode: int
) -> None:
    sandbox.log_in(openid="o-1")
    clock.advance(age)

    assert risk(sandbox)["errcode"] == errcode


def rid_of(answer: Any) -> str:
    return str(answer["errmsg"].rpartition("rid: ")[2])


def look_up(sandbox: Sandbox, rid: str, **credentials: str) -> Any:
    return sandbox.post(RID, {"rid": rid}, access_token=sandbox.fetch_stable_token(**credentials))


def test_a_failure_is_told_by_its_rid_without_its_secrets(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_stable_token()
    failed = sandbox.get(CHECK, {"access_token": token, "openid": "nobody", "sig_method": "x"})

    request = look_up(sandbox, rid_of(failed))["request"]

    assert request["request_url"] == "access_token=***&openid=nobody&sig_method=x"
    assert rid_of(failed) in request["response_body"]
    assert request["invoke_time"] == int(clock.now)


def test_a_rid_is_refused(sandbox: Sandbox, clock: Clock) -> None:
    of_sns = rid_of(sandbox.exchange("unknown"))
    of_app = rid_of(sandbox.phone_number(code="unknown"))

    assert look_up(sandbox, of_sns)["errcode"] == 76022
    assert look_up(sandbox, of_app)["errcode"] == 0
    assert look_up(sandbox, of_app, **OTHER_CREDENTIALS)["errcode"] == 76003
    assert look_up(sandbox, "00000000-00000000-00000000")["errcode"] == 76001
    assert [look_up(sandbox, rid)["errcode"] for rid in ("", "unknown", of_app[:-1])] == [76002] * 3
    clock.advance(7 * 86_400 - 1)
    assert look_up(sandbox, of_app)["errcode"] == 0
    clock.advance(1)
    assert look_up(sandbox, of_app)["errcode"] == 76001


def test_a_call_whose_token_has_ended_is_its_apps(sandbox: Sandbox) -> None:
    token = sandbox.fetch_stable_token()
    sandbox.client.post("/_sandbox/tokens", json={"expire": True})

    failed = sandbox.get(CHECK, {"access_token": token, "openid": "o-1"})

    assert failed["errcode"] == 42001
    assert look_up(sandbox, rid_of(failed))["errcode"] == 0
    assert look_up(sandbox, rid_of(failed), **OTHER_CREDENTIALS)["errcode"] == 76003


def test_what_was_asked_is_told_as_a_query(sandbox: Sandbox) -> None:
    token = sandbox.fetch_stable_token()
    failed = sandbox.client.get(
        CHECK, query_string={"access_token": token, "openid": ["a b", "c&d"], "signature": "s"}
    ).get_json(force=True)

    told = look_up(sandbox, rid_of(failed))["request"]["request_url"]

    assert told == "access_token=***&openid=a+b&openid=c%26d&signature=***"


def test_failures_beyond_ten_thousand_are_forgotten(sandbox: Sandbox) -> None:
    first = rid_of(sandbox.phone_number(code="unknown"))

    for _ in range(10_000):
        sandbox.client.get("/sns/unknown")

    assert look_up(sandbox, first)["errcode"] == 76001


@pytest.mark.parametrize("path", ["/cgi-bin/getcallbackip", "/cgi-bin/get_api_domain_ip"])
def test_addresses_are_for_documentation(sandbox: Sandbox, path: str) -> None:
    addresses = sandbox.get(path, {"access_token": sandbox.fetch_token()})["ip_list"]

    assert all(address.startswith(("192.0.2.", "198.51.100.")) for address in addresses)
    assert addresses


def limit(sandbox: Sandbox, **fields: Any) -> Any:
    return sandbox.client.post("/_sandbox/limits", json={"path": EXCHANGE, **fields})


def test_no_call_is_over_a_limit_that_nobody_sets(sandbox: Sandbox) -> None:
    assert {sandbox.errcode(sandbox.code(openid="o-1")) for _ in range(200)} == {0}


def test_a_limit_of_a_user_leaves_others_alone_and_no_code_is_spent(sandbox: Sandbox, clock: Clock) -> None:
    assert limit(sandbox, calls=2).json == {
        "path": EXCHANGE,
        "calls": 2,
        "seconds": 60,
        "per": "user",
        "errcode": 45011,
    }
    codes = [sandbox.code(openid="o-1") for _ in range(3)]

    assert [sandbox.errcode(code) for code in codes] == [0, 0, 45011]
    assert sandbox.errcode(sandbox.code(openid="o-2")) == 0
    clock.advance(60)
    assert sandbox.errcode(codes[2]) == 0


def test_a_limit_of_an_app_counts_all_calls(sandbox: Sandbox) -> None:
    limit(sandbox, calls=2, per="app", seconds=86_400, errcode=45009)

    assert [sandbox.errcode(code) for code in ("unknown", sandbox.code(), sandbox.code())] == [40029, 0, 45009]


def test_a_limit_counts_calls_that_name_a_user(sandbox: Sandbox) -> None:
    limit(sandbox, path=CHECK, calls=1)
    limit(sandbox, path=PHONE_NUMBER, calls=1)
    first, second = sandbox.log_in(openid="o-1"), sandbox.log_in(openid="o-2")
    token = sandbox.fetch_token()

    checked = [sandbox.get(CHECK, signed_query(each, token))["errcode"] for each in (first, second, second)]
    phones = [sandbox.phone_number(code=sandbox.phone_code(openid="o-1"))["errcode"] for _ in range(2)]

    assert checked == [0, 0, 45011]
    assert phones == [0, 45011]


def test_a_limit_of_nobody_in_particular_is_not_counted(sandbox: Sandbox) -> None:
    limit(sandbox, path=PHONE_NUMBER, calls=0)

    assert sandbox.phone_number(code=sandbox.phone_code())["errcode"] == 0


def test_limits_are_removed(sandbox: Sandbox) -> None:
    limit(sandbox, calls=0)
    limit(sandbox, path=PHONE_NUMBER, calls=0, per="app")

    sandbox.client.delete("/_sandbox/limits", json={"path": EXCHANGE})

    assert sandbox.errcode(sandbox.code()) == 0
    assert sandbox.phone_number(code="unknown")["errcode"] == 45011
    sandbox.client.delete("/_sandbox/limits")
    assert sandbox.phone_number(code="unknown")["errcode"] == 40029


@pytest.mark.parametrize(
    "fields",
    [{}, {"calls": -1}, {"calls": 1, "seconds": 0}, {"calls": 1, "per": "city"}, {"calls": 1, "errcode": 0}],
)
def test_a_limit_that_is_none_is_refused(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    assert limit(sandbox, **fields).status_code == 400


def clear(sandbox: Sandbox, appid: str = APPID) -> int:
    return int(sandbox.post(CLEAR, {"appid": appid}, access_token=sandbox.fetch_stable_token())["errcode"])


def test_a_cleared_quota_lets_calls_through_again(sandbox: Sandbox) -> None:
    limit(sandbox, calls=1, per="app")
    errcodes = [sandbox.errcode(sandbox.code()) for _ in range(2)]

    assert clear(sandbox) == 0

    assert [*errcodes, sandbox.errcode(sandbox.code())] == [0, 45011, 0]


def test_a_quota_is_cleared_ten_times_a_month(sandbox: Sandbox, clock: Clock) -> None:
    by_secret = {"appid": APPID, "appsecret": SECRET}

    assert [clear(sandbox) for _ in range(9)] == [0] * 9
    assert sandbox.client.post(CLEAR_BY_SECRET, query_string=by_secret).get_json(force=True)["errcode"] == 0
    assert sandbox.post(CLEAR_BY_SECRET, by_secret)["errcode"] == 48006
    clock.advance(30 * 86_400)
    assert clear(sandbox) == 0


def test_another_apps_quota_is_not_cleared(sandbox: Sandbox) -> None:
    assert clear(sandbox, OTHER_APPID) == 40013
    assert sandbox.post(CLEAR_BY_SECRET, {"appid": APPID, "appsecret": "wrong"})["errcode"] == 40125
    assert sandbox.post(CLEAR_BY_SECRET, {"appid": APPID})["errcode"] == 41004


def test_clearing_leaves_the_counts_of_other_apps(sandbox: Sandbox) -> None:
    limit(sandbox, path="/cgi-bin/getcallbackip", calls=1, per="app")
    tokens = [sandbox.fetch_token(), sandbox.fetch_token(**OTHER_CREDENTIALS)]

    def ask() -> list[int | None]:
        answers = [sandbox.get("/cgi-bin/getcallbackip", {"access_token": token}) for token in tokens]
        return [answer.get("errcode") for answer in answers]

    assert [*ask(), *ask()] == [None, None, 45011, 45011]

    clear(sandbox)

    assert ask() == [None, 45011]


def test_limits_of_one_path_with_other_windows_and_parties_stand_beside_each_other(sandbox: Sandbox) -> None:
    for fields in ({"seconds": 1, "calls": 2}, {"seconds": 60, "calls": 9}, {"per": "app", "calls": 5}):
        limit(sandbox, **fields)
    limit(sandbox, seconds=1, calls=3)

    listed = sandbox.client.get("/_sandbox/limits").json

    assert listed is not None
    assert [(each["seconds"], each["per"], each["calls"]) for each in listed] == [
        (1, "user", 3),
        (60, "user", 9),
        (60, "app", 5),
    ]
