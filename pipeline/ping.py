"""Pings a URL when a run starts and when it ends, as healthchecks.io and what is made like it understand.

``URL/start``, then ``URL`` where the run did all there was to do, else ``URL/fail``; the body says in a few numbers how
it went. Both carry one ``rid``, so that runs that overlap are told apart. The URL holds a token: it is a secret.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, PipelineError
from pipeline.extract.transport import BrokenError, post
from pipeline.secret import Secret, fetch
from pipeline.stopping import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.result import RunResult
    from pipeline.stopping import Stop

#: For one try, the look-up of the name included.
SECONDS = 5.0
TRIES = 2
_REFERENCES = ("env:", "file:")
_OK = range(200, 300)


class Ping:
    """Tells one URL of one run; what goes wrong is a warning in words of ours, which hold nothing of the URL."""

    def __init__(self, url: str, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._query = {"rid": str(uuid.uuid4())}
        self._url = self._resolved(url)

    def _resolved(self, url: str) -> Secret | None:
        """Fetch the URL where only its place is named."""
        if url.startswith(("http://", "https://")):
            return Secret(url)
        try:
            if not url.startswith(_REFERENCES):
                raise ConfigError("the ping URL is neither an http URL nor env:NAME or file:PATH that holds one")
            return fetch(url, owner="ping", setting="--ping-url")
        except PipelineError as error:
            self._warn(f"nobody is pinged: {error.message}")
            return None

    def start(self, stop: Stop) -> None:
        """Say that the run starts; gives way to a signal."""
        with contextlib.suppress(StoppedError), stop.interruptible():
            self._send("/start", b"started\n", TRIES)

    def end(self, code: int, result: RunResult | None, *, is_urgent: bool) -> None:
        """Say how the run ended; once only where it was told to stop, and not at all to whom Ctrl-C is too slow."""
        with contextlib.suppress(KeyboardInterrupt):
            self._send("/fail" if code else "", summary(code, result).encode(), 1 if is_urgent else TRIES)

    def _send(self, below: str, body: bytes, tries: int) -> None:
        if self._url is None:
            return
        url = self._url.reveal()
        problem = "nothing was tried"
        for _ in range(tries):
            found = _bounded(lambda: post(url, body, below=below, query=self._query, seconds=SECONDS))
            if found is None:
                return
            problem = found
        self._warn(f"the ping of the run's {'start' if below == '/start' else 'end'} was not taken: {problem}")


def _bounded(ask: Callable[[], int]) -> str | None:
    """Ask, for as long as that may take and no longer; return why it was not taken.

    In a thread that is left behind where it hangs: nothing else bounds the look-up of a name, or a body that drips.
    """
    told: list[str | None] = []

    def try_once() -> None:
        try:
            status = ask()
            told.append(None if status in _OK else f"it was answered with {status}")
        except BrokenError as error:
            told.append(str(error))
        except Exception as error:  # noqa: BLE001 - what it says may hold the URL, its kind does not
            told.append(type(error).__name__)

    thread = threading.Thread(target=try_once, name="ping", daemon=True)
    thread.start()
    thread.join(SECONDS)
    return told[0] if told else f"no answer in {SECONDS:g} s"


def summary(code: int, result: RunResult | None) -> str:
    """Say how a run went: names of sources and destinations, and numbers; no server's words are in it."""
    lines = [f"exit {code}"]
    for source in result.sources if result else ():
        through = f"{source.data_through:%Y-%m-%d %H:%M:%S} UTC" if source.data_through else "nothing yet"
        lines.append(
            f"{source.source}: exit {source.exit_code}, {'complete' if source.complete else 'not complete'}, "
            f"{source.new} new, {source.changed} changed, {source.skipped} skipped, {source.rejected} rejected, "
            f"{source.retries} retries, data through {through}"
        )
    lines += [f"{one.destination}: exit {one.exit_code}" for one in (result.destinations if result else ())]
    return "\n".join(lines) + "\n"
