"""The benchmark's server as the benchmarks see it: a process to start, to set and to ask what it spent."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
#: Not through a proxy, whatever the environment says.
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Spent:
    """What the server spent so far."""

    cpu: float
    """Seconds."""
    requests: int
    first: float | None
    """When it was first asked since it was last set, on the clock that all processes share."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that runs."""

    url: str

    def set(self, **settings: float) -> None:
        """Change the delay or how many completions are listed; what is asked next is the first request."""
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        _open(f"{self.url}/set?{query}").read()

    def spent(self) -> Spent:
        """Ask what the server spent."""
        return Spent(**json.loads(_open(f"{self.url}/spent").read()))


@contextmanager
def serving(count: int, *, small: bool = False, nights: int = 0) -> Iterator[Service]:
    """Start a server of ``count`` completions in a process of its own, and end it."""
    with started("server", count, "--nights", nights, *(["--small"] if small else [])) as url:
        yield Service(url)


@contextmanager
def started(module: str, *arguments: object) -> Iterator[str]:
    """Start a module that serves until its standard input ends; hand out its first line, the address."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as process:
        try:
            url = (process.stdout or sys.stdin).readline().strip()
            if not url:
                sys.exit(f"tests.bench.{module} did not start")
            yield url
        finally:
            process.communicate()
