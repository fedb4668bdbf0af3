"""``/openapi.json``: all that the service answers, and nothing that it doesn't."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask

from tests.drivers import Answer, MiniProgram, Sandbox, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web import errors
from wxlogin.web.app import create_app
from wxlogin.web.errors import ErrorBody
from wxlogin.web.openapi import document
from wxlogin.web.routing import Operation, operation_of
from wxlogin.wechat.api.errors import WeChatAPIError, api_error, errcode_of


def description_of(app: Flask) -> Any:
    return in_process(app)("GET", "/openapi.json").json


@pytest.fixture
def described(app: Flask) -> Any:
    return description_of(app)


@pytest.fixture
def everything(settings: Settings) -> Flask:
    """A service that does and tells all that settings allow."""
    wide = dataclasses.replace(settings, admin_token="x" * 32, expose_openid=True, session_id_in_body=True)
    return create_app(Services.build(wide))


def operations_of(description: Any) -> Iterator[Any]:
    return (operation for methods in description["paths"].values() for operation in methods.values())


def declared(app: Flask) -> list[Operation]:
    """Return how each route is declared."""
    return [operation_of(app.view_functions[rule.endpoint]) for rule in app.url_map.iter_rules()]


def routes_in(description: Any) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}


def routes_of(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }


def complaints(description: Any, schema: Any, value: Any) -> list[str]:
    """Return what is wrong with a value that should fit a schema of the description."""
    whole = {**schema, "components": description["components"]}
    return [error.message for error in jsonschema_rs.validator_for(whole).iter_errors(value)]


def fits(description: Any, path: str, method: str, answer: Answer) -> bool:
    content = description["paths"][path][method]["responses"][str(answer.status)]["content"]
    return complaints(description, content["application/json"]["schema"], answer.json) == []


def fields_of(description: Any, name: str) -> set[str]:
    return set(description["components"]["schemas"][name]["properties"])


def test_it_is_openapi_3_1_in_the_services_envelope(app: Flask) -> None:
    answer = in_process(app)("GET", "/openapi.json")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json["openapi"].startswith("3.1.")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_it_has_every_route_and_no_other(everything: Flask) -> None:
    assert routes_in(description_of(everything)) == routes_of(everything)


def test_the_operators_routes_are_in_it_only_if_they_are_there(app: Flask, described: Any) -> None:
    assert routes_in(described) == routes_of(app)
    assert not [path for path in described["paths"] if path.startswith("/admin")]
    assert "operator" not in described["components"]["securitySchemes"]
    assert "Operators" not in [tag["name"] for tag in described["tags"]]


def test_the_page_for_people_is_not_in_it(app: Flask, settings: Settings) -> None:
    with_docs = create_app(Services.build(settings), with_docs=True)

    assert description_of(with_docs) == description_of(app)


def test_it_is_made_once(app: Flask, described: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(document, "describe")

    assert description_of(app) == described


def test_starting_does_not_load_what_makes_it() -> None:
    program = "import sys, wxlogin.web.app; print('wxlogin.web.openapi.document' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "False"


def test_a_body_is_what_the_route_reads_as_json_or_as_a_form(described: Any) -> None:
    body = described["paths"]["/user-data/decrypt"]["post"]["requestBody"]

    kinds = {kind: content["schema"]["$ref"] for kind, content in body["content"].items()}
    schema = described["components"]["schemas"]["Encrypted"]
    assert set(kinds) == {"application/json", "application/x-www-form-urlencoded"}
    assert set(kinds.values()) == {"#/components/schemas/Encrypted"}
    assert schema["required"] == ["encryptedData", "iv"]
    assert schema["additionalProperties"] is False


def test_an_answer_may_get_more_fields_some_day(described: Any) -> None:
    schemas = described["components"]["schemas"]

    assert {schemas[name].get("additionalProperties", True) for name in ("Session", "Error", "ErrorDetail")} == {
        True
    }


def test_what_settings_keep_out_of_answers_is_not_in_it(described: Any, everything: Flask) -> None:
    wide = description_of(everything)

    assert fields_of(described, "LoggedIn") == {"expires_in"}
    assert fields_of(wide, "LoggedIn") == {"expires_in", "session_id", "openid"}
    assert "openid" not in fields_of(described, "Session")
    assert "openid" in fields_of(wide, "Session")
    assert not {"openId", "unionId", "watermark"} & fields_of(described, "DecryptedUserInfo")
    assert {"openId", "unionId"} <= fields_of(wide, "DecryptedUserInfo")


@pytest.mark.parametrize("wish", ["app", "everything"])
def test_what_is_answered_to_a_user_fits_it(wish: str, request: pytest.FixtureRequest, sandbox: Sandbox) -> None:
    app: Flask = request.getfixturevalue(wish)
    description, user = description_of(app), MiniProgram(in_process(app), sandbox)

    login = user.log_in()
    phone_code = {"code": sandbox.phone_code(openid=user.openid)}

    assert fits(description, "/login", "post", login)
    assert fits(description, "/session", "get", user.get("/session"))
    assert fits(description, "/sessions", "get", user.get("/sessions"))
    assert fits(description, "/phone-number", "post", user.post("/phone-number", json=phone_code))
    assert fits(description, "/login", "post", user.log_in_with("unknown"))


@pytest.mark.parametrize("wish", ["app", "everything"])
@pytest.mark.parametrize("kind", ["user_info", "phone_number", "share", "werun"])
def test_decrypted_data_fits_one_of_its_kinds(
    wish: str, kind: str, request: pytest.FixtureRequest, sandbox: Sandbox
) -> None:
    app: Flask = request.getfixturevalue(wish)
    user = MiniProgram(in_process(app), sandbox)
    user.log_in()
    data = sandbox.user_data(openid=user.openid, kind=kind)

    answer = user.post("/user-data/decrypt", json={name: data[name] for name in ("encryptedData", "iv")})

    assert answer.status == 200
    assert fits(description_of(app), "/user-data/decrypt", "post", answer)


def test_an_answer_with_less_does_not_fit(described: Any) -> None:
    answer = described["paths"]["/session"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert complaints(described, answer, {"appid": "wx4f4bc4dec97d474b"}) != []


def test_each_example_of_an_error_fits_its_schema(everything: Flask) -> None:
    description = description_of(everything)
    contents = [
        answer["content"]["application/json"]
        for operation in operations_of(description)
        for answer in operation["responses"].values()
        if "examples" in answer.get("content", {}).get("application/json", {})
    ]

    wrong = [
        complaints(description, content["schema"], example["value"])
        for content in contents
        for example in content["examples"].values()
    ]

    assert len(wrong) > 100
    assert not any(wrong)


def test_an_error_is_described_by_the_table_that_answers_it(described: Any) -> None:
    answers = described["paths"]["/login"]["post"]["responses"]

    codes = answers["400"]["content"]["application/json"]["schema"]["properties"]["error"]["properties"]["code"]
    assert codes == {"enum": ["code_used", "invalid_code", "invalid_request"]}
    assert answers["504"]["content"]["application/json"]["examples"]["wechat_timeout"]["value"]["error"] == {
        "code": "wechat_timeout",
        "message": "WeChat did not answer in time, and the code may be spent. Get a new code and send that.",
        "request_id": "4d6ae01f0c6b4b0f9f8e2a6a1d1f3b5c",
        "retryable": False,
    }


def test_every_error_of_the_table_comes_from_some_route(everything: Flask) -> None:
    told = {errors.spec_of(kind).message for operation in declared(everything) for kind in operation.raises}

    assert {row.message for row in errors._SPECS.values()} - told == set()


def test_whoever_is_to_wait_is_told_how_long(everything: Flask) -> None:
    description = description_of(everything)
    answers = [
        (status, answer) for each in operations_of(description) for status, answer in each["responses"].items()
    ]

    assert {status for status, answer in answers if "Retry-After" in answer["headers"]} == {"429", "503"}
    assert all("Retry-After" in answer["headers"] for status, answer in answers if status in {"429", "503"})
    assert all(row.retry_after_seconds for row in errors._SPECS.values() if row.status == 503)


def test_the_headers_of_an_answer_are_in_it(app: Flask, described: Any, sandbox: Sandbox) -> None:
    user = MiniProgram(in_process(app), sandbox)
    login = user.log_in()
    identity = user.get("/auth")

    login_headers = described["paths"]["/login"]["post"]["responses"]["200"]["headers"]
    identity_headers = described["paths"]["/auth"]["get"]["responses"]["204"]["headers"]
    assert {name for name in login_headers if name in login.headers} == set(login_headers)
    assert {name for name in identity_headers if identity_headers[name].get("required")} <= set(
        identity.headers.keys()
    )
    assert {name for name in identity.headers.keys() if name.startswith("X-WX-")} <= set(identity_headers)  # noqa: SIM118


def test_nothing_but_an_identity_or_its_refusal_comes_from_auth(described: Any) -> None:
    assert set(described["paths"]["/auth"]["get"]["responses"]) == {"204", "401", "403", "503"}


def test_a_session_travels_in_three_ways_and_the_operators_token_in_one(everything: Flask) -> None:
    description = description_of(everything)

    schemes = description["components"]["securitySchemes"]
    ways = {name: (scheme["type"], scheme.get("in"), scheme.get("name")) for name, scheme in schemes.items()}
    assert ways == {
        "sessionid_header": ("apiKey", "header", "sessionid"),
        "sessionid_cookie": ("apiKey", "cookie", "sessionid"),
        "bearer": ("http", None, None),
        "operator": ("http", None, None),
    }
    assert description["paths"]["/session"]["get"]["security"] == [
        {"sessionid_header": []},
        {"sessionid_cookie": []},
        {"bearer": []},
    ]
    assert {} in description["paths"]["/session"]["delete"]["security"]
    assert "security" not in description["paths"]["/login"]["post"]


def test_the_errcode_of_an_example_makes_that_error(everything: Flask) -> None:
    raised = {kind for operation in declared(everything) for kind in operation.raises}
    kinds = {kind for kind in raised if issubclass(kind, WeChatAPIError)}

    assert {kind for kind in kinds if type(api_error(errcode_of(kind), None)) is not kind} == set()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_it_takes_no_session(app: Flask, method: str) -> None:
    answer = in_process(app)(method, "/openapi.json", headers={"sessionid": "x" * 59})

    assert answer.status == 200
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("answer", [None, {"appid": "wx"}, 1])
def test_a_view_that_answers_something_else_than_it_declares_fails(answer: object) -> None:
    declaration = Operation(tag="Sessions", says="", answers=ErrorBody)

    with pytest.raises(TypeError, match="is not what this route answers"):
        declaration.respond(answer)
