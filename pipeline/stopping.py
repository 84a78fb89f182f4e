"""A polite end: a signal asks the run to stop, and the run stops where its position is true."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoppedError(Exception):
    """The run was asked to stop."""


class Stop:
    """Whether a run was asked to stop; waiting and reading from the network give way at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._interruptible = False

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask for a stop; from a signal handler this interrupts a wait for the network."""
        self._asked.set()
        if self._interruptible:
            self._interruptible = False
            raise StoppedError

    def check(self) -> None:
        """Raise StoppedError where a stop was asked for."""
        if self.asked:
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait, unless asked to stop."""
        self._asked.wait(seconds)
        self.check()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let ``ask`` break off what happens in this block: it holds nothing that could be half done."""
        self.check()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False
