"""What gunicorn.conf.py says, for a machine that may be busy: workers wait for Redis as long as it takes.

For tests of what is done without a thread: after the few milliseconds of production, a thread does it. And for
those of many requests at once, some of which Redis would answer too late.
"""

from pathlib import Path

_path = Path("gunicorn.conf.py")
exec(compile(_path.read_text(encoding="utf-8"), _path, "exec"))  # noqa: S102  # our own

from wxlogin import redis_guard  # noqa: E402  # it chooses a folder before these are imported
from wxlogin.sessions import invalidations, lookups  # noqa: E402

redis_guard._FIRST_CONNECT_SECONDS = redis_guard._TOO_LATE_SECONDS = 20
lookups.PATIENCE_SECONDS = 20
invalidations.BEAT_SECONDS = 20
