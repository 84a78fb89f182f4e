"""A polite end: a signal asks the run to stop, and the run stops where its position is true."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoppedError(Exception):
    """The run was asked to stop."""


class Stop:
    """Whether a run was asked to stop; waiting and reading from the network give way at once.

    No locks: ``ask`` is called by a signal handler, in the middle of whatever the run was doing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False

    def ask(self) -> None:
        """Ask for a stop; from a signal handler this breaks off a wait."""
        self.asked = True
        if self._interruptible:
            self._interruptible = False
            raise StoppedError

    def check(self) -> None:
        """Raise StoppedError where a stop was asked for."""
        if self.asked:
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait, unless asked to stop."""
        with self.interruptible():
            time.sleep(seconds)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let ``ask`` break off what happens in this block: it holds nothing that could be half done."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False
