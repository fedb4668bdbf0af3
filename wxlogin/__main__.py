"""``python -m wxlogin``, for where the ``wxlogin`` script is not on the path."""

import sys

from wxlogin.cli.main import main

sys.exit(main())
