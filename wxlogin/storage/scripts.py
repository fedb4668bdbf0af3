"""Lua scripts: each in a file of its package's ``scripts/``, sent whole by EVAL.

EVALSHA would need another right of Redis's user, and a NOSCRIPT in the middle of a pipeline leaves half of it
done.
"""

from __future__ import annotations

import re
from importlib import resources

_INCLUDE = re.compile(r"^-- include (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


def load_script(package: str, name: str) -> str:
    """Return ``scripts/<name>.lua`` of ``package``: with what it includes, and without lines of comments."""
    text = (resources.files(package) / "scripts" / f"{name}.lua").read_text(encoding="utf-8")
    return _COMMENT.sub("", _INCLUDE.sub(lambda include: load_script(package, include[1]), text))
