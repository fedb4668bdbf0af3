"""A back end behind wxlogin's nginx: it prints who is calling.

nginx lets only logged-in users through, and says who they are in headers, those of WeChat Cloud Run.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

app = Flask(__name__, static_folder=None)


@app.before_request
def refuse_strangers() -> tuple[Response, int] | None:
    """Refuse what did not come through nginx: a back end doesn't guess who somebody is."""
    if request.headers.get("X-WX-OPENID"):
        return None
    return jsonify(error={"code": "not_logged_in", "message": "Nobody has said who you are."}), 401


@app.get("/")
@app.get("/api/")
def who_is_calling() -> Response:
    """Answer with the identity; there is a unionid if the mini-program is bound to an account that has them."""
    answer = jsonify(
        openid=request.headers["X-WX-OPENID"],
        appid=request.headers.get("X-WX-APPID"),
        unionid=request.headers.get("X-WX-UNIONID"),
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
