"""What a team writes by hand: Flask with Flask-Session as it comes."""

from __future__ import annotations

import os

from flask import Flask, Response, session
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(os.environ["BENCH_REDIS_URL"]))
Session(app)


@app.get("/auth")
def check() -> Response:
    """Say who is calling."""
    if "openid" not in session:
        return Response(status=401)
    return Response(
        status=204,
        headers={
            "X-WX-OPENID": session["openid"],
            "X-WX-APPID": "wx4f4bc4dec97d474b",
            "X-WX-SOURCE": "wx_client",
            "Cache-Control": "no-store",
        },
    )
