"""What gunicorn.conf.py says, for a machine that may be busy: workers wait for Redis as long as it takes.

For tests of what is done without a thread: after the few milliseconds of production, a thread does it. And for
those of many requests at once, some of which Redis would answer too late.
"""

from wxlogin.server.gunicorn_config import gunicorn_config

globals().update(gunicorn_config())

from wxlogin.sessions.verification import invalidation, pipeline  # noqa: E402  # a folder is chosen before
from wxlogin.storage import gateway  # noqa: E402

gateway._FIRST_CONNECT_SECONDS = gateway._MAX_CALL_SECONDS = 20
pipeline.LOOKUP_TIMEOUT_SECONDS = 20
invalidation.HEARTBEAT_SECONDS = 20
