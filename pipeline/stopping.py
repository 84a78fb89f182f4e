"""A polite end: a signal asks the run to stop, and the run stops where its position is true."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Seconds after which a thread that no signal reaches looks whether it was asked to stop.
LOOK = 0.2


class StoppedError(Exception):
    """The run was asked to stop."""


class Stop:
    """Whether a run was asked to stop; waiting and reading from the network give way.

    At once in the main thread, where signals arrive; other threads look every now and then. No locks: ``ask`` is called
    by a signal handler, in the middle of whatever the run was doing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False

    def ask(self) -> None:
        """Ask for a stop; from a signal handler this breaks off a wait."""
        self.asked = True
        if self._interruptible and _is_main_thread():
            self._interruptible = False
            raise StoppedError

    def check(self) -> None:
        """Raise StoppedError where a stop was asked for."""
        if self.asked:
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait, unless asked to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with self.interruptible():
                time.sleep(left if _is_main_thread() else min(left, LOOK))

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let ``ask`` break off what happens in this block: it holds nothing that could be half done."""
        if not _is_main_thread():
            self.check()
            yield
            return
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
