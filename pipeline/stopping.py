"""A polite end: a signal or a limit asks the run to stop, and the run stops where its position is true."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Seconds after which whoever waits looks whether it was asked to stop.
LOOK = 0.2


class StoppedError(Exception):
    """The run was asked to stop; the text says by what."""


class LimitReachedError(StoppedError):
    """What a source may take in this run is used up."""


class Stop:
    """Whether a run was asked to stop; waiting and reading from the network give way.

    At once in the main thread, where signals arrive; other threads look every now and then. No locks: ``ask`` is called
    by a signal handler, in the middle of whatever the run was doing.
    """

    def __init__(self) -> None:
        self._asked = False
        self._interruptible = False

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def ask(self) -> None:
        """Ask for a stop; from a signal handler this breaks off a wait."""
        self._asked = True
        if self._interruptible and _is_main_thread():
            self._interruptible = False
            self.check()

    def check(self) -> None:
        """Raise StoppedError where a stop was asked for."""
        if self._asked:
            raise StoppedError("the run was asked to stop")

    def sleep(self, seconds: float) -> None:
        """Wait, unless asked to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with self.interruptible():
                time.sleep(min(left, LOOK))

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


class Limit(Stop):
    """The stop of one source's questions: the run's own, or the end of the pages or seconds that they may take.

    What was kept is loaded and published all the same: that goes by the run's own stop. Nothing ends before the source
    is further than the runs before had come, or each run would read the same again.
    """

    def __init__(self, stop: Stop, *, pages: int | None = None, seconds: float | None = None) -> None:
        super().__init__()
        self._stop = stop
        self._pages = pages
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._counted = 0
        self._is_further = False

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for, or a limit is reached."""
        return self._stop.asked or self._reached is not None

    @property
    def _reached(self) -> str | None:
        if self._pages is not None and self._counted >= self._pages:
            return f"max-pages ({self._pages:,}) was reached"
        if self._is_further and self._deadline is not None and time.monotonic() >= self._deadline:
            return "max-runtime was reached"
        return None

    @property
    def of_the_run(self) -> Stop:
        """The run's own stop: for an answer that was asked for before a limit was reached, which is waited for."""
        return self._stop

    def ask(self) -> None:
        """Ask the whole run to stop."""
        self._stop.ask()

    def check(self) -> None:
        """Raise StoppedError where a stop was asked for, LimitReachedError where a limit is reached."""
        self._stop.check()
        if (reached := self._reached) is not None:
            raise LimitReachedError(reached)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the run's own stop break off what happens in this block."""
        with self._stop.interruptible():
            self.check()
            yield

    def count(self) -> None:
        """Count a page that brought the walk further than the runs before had come."""
        self._counted += 1
        self._is_further = True

    def end_pages(self) -> None:
        """Say that the list was read to its end: what follows is no walk, and only its time is limited."""
        self._pages = None
        self._is_further = True


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
