"""What is held and was not shown, while a walk passes by: flat memory, whatever is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.archive.held import Held, State
    from pipeline.handoff import Page


class Missing:
    """Compares what a walk shows with what is held, behind ``start`` and up to ``end``."""

    def __init__(self, held: Held, start: int | None, end: int) -> None:
        self._held = held
        self._done = -(2**63) if start is None else start
        self._end = end
        self._shown: dict[str, int] = {}

    def show(self, page: Page) -> None:
        """Take note of what a page shows."""
        for row in page.rows:
            if row.created is not None and row.created > self._done:
                self._shown[row.id] = row.created

    def up_to(self, second: int) -> Iterator[tuple[str, State]]:
        """Yield what should have been shown behind the last call and up to ``second``, and was not."""
        second = min(second, self._end)
        if second <= self._done:
            return
        self._held.cover(self._done + 1, second)
        missed = [(id_, state) for id_, state in self._held.within(self._done + 1, second) if id_ not in self._shown]
        self._done = second
        self._shown = {id_: created for id_, created in self._shown.items() if created > second}
        yield from missed
