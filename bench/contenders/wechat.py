"""The sandbox under gunicorn: it keeps its connections, as WeChat does and Werkzeug's server doesn't."""

from __future__ import annotations

import os

from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import SandboxState

app = create_sandbox(SandboxState(apps={os.environ["WXLOGIN_APPID"]: os.environ["WXLOGIN_APP_SECRET"]}))
