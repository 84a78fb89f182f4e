"""How many requests may be in flight: halved by a rate limit, then grown by one for each round of successes."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Throttle:
    """Lets at most ``most`` requests through at a time, fewer after the server limited the rate. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = most
        self._in_flight = 0
        self._round = 0
        """Counts halvings: what was sent before the last one does not halve again."""
        self._successes = 0
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return self._allowed

    @contextlib.contextmanager
    def slot(self) -> Iterator[Slot]:
        """Wait for a turn, and hold it while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < self._allowed)
            self._in_flight += 1
            slot = Slot(self._round)
        try:
            yield slot
        finally:
            with self._changed:
                self._in_flight -= 1
                self._learn(slot)
                self._changed.notify_all()

    def _learn(self, slot: Slot) -> None:
        if slot.was_limited:
            if slot.round == self._round:
                self._round += 1
                self._allowed = max(1, self._allowed // 2)
                self._successes = 0
            return
        self._successes += slot.round == self._round
        if self._successes >= self._allowed:
            self._successes = 0
            self._allowed = min(self._most, self._allowed + 1)


class Slot:
    """One request's turn; ``was_limited`` is set by whoever hears a 429."""

    def __init__(self, round_: int) -> None:
        self.round = round_
        self.was_limited = False
