"""Reads the list of stored completions so that none is missed: the client, the retries, the walk."""

import sys

# httpx looks for a command line of its own, and with it for rich and pygments: a tenth of a small night's time. Python
# is told that there is none.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
