"""The floor of any exporter: the bare walk of all pages with httpx, bodies thrown away, ``after`` = ``last_id``.

``python -m tests.bench.floor URL`` prints how long that took, start and imports not counted.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.measure import Measured, measured

if TYPE_CHECKING:
    from tests.bench.service import Service

_TAIL = re.compile(rb'"last_id":"([^"]*)","has_more":(true|false)\}$')


def walk(url: str, limit: int = 100) -> float:
    """Walk every page; return the seconds."""
    import httpx  # noqa: PLC0415 - not in the process that measures

    began = time.perf_counter()
    asked = {"order": "asc", "limit": str(limit)}
    with httpx.Client() as client:
        while True:
            body = client.get(f"{url}/v1/chat/completions", params=asked).content
            told = _TAIL.search(body, len(body) - 400)
            if told is None:
                sys.exit("a page without last_id")
            if told[2] == b"false":
                return time.perf_counter() - began
            asked["after"] = told[1].decode()


def floor(service: Service) -> tuple[float, Measured]:
    """Walk in a process of its own; return the seconds of the walk alone, and what the process cost."""
    whole = measured([sys.executable, "-m", "tests.bench.floor", service.url], service)
    return float(whole.stdout), whole


if __name__ == "__main__":
    print(walk(sys.argv[1]))
