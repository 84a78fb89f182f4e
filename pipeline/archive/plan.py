"""Which input messages are still to be fetched, derived from the archive: what was fetched is never fetched again."""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.archive.segments import Archive, Footer

_COLUMNS = ["kind", "id", "created", "is_version", "has_messages"]


class Due(NamedTuple):
    """A completion whose input messages are to be fetched."""

    id: str
    created: int | None


class _Known(NamedTuple):
    fetched: set[str]
    """Whose messages were fetched."""
    gone: dict[str, int]
    """Which completions went, and the segment that says so last."""
    again: set[str]
    """Which completions have a version that is not their first: fetched for the one, none is due for the other."""


class Plan:
    """Yields what is due, oldest segment first, and knows up to which segment nothing is due any more."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._from = archive.settled
        self._to = archive.last
        self._segments: dict[str, int] = {}
        # What a segment that is missing holds may be due yet: once it is there again, it is looked at.
        self._open: dict[int, int] = dict.fromkeys((number for number in archive.missing if number > self._from), 1)
        self._passed = self._from
        self._in_hand: Iterator[tuple[str, int | None]] = iter(())
        self._behind = self._from + 1

    @property
    def is_empty(self) -> bool:
        """Whether no segment has come since all was asked for."""
        return all(not footer.completions for footer in self._archive.footers if footer.number > self._from)

    @property
    def settled(self) -> int:
        """The last segment up to which everything that was due is done."""
        return next((number - 1 for number in sorted(self._open) if number <= self._passed), self._passed)

    @property
    def waiting(self) -> int:
        """How many are due and not done, whether they were handed out or not; nothing is handed out afterwards."""
        rest = chain(self._in_hand, *(self._of(footer) for footer in self._footers(self._behind)))
        return len(self._segments) + len({hash(id_) for id_, _ in rest})  # of millions, numbers fit into memory

    def due(self) -> Iterator[Due]:
        """Yield each completion of which no messages are held; each is due until it is told ``done``."""
        for footer in self._footers(self._from + 1):
            number = footer.number
            self._in_hand, self._behind = self._of(footer), number + 1
            for id_, created in self._in_hand:
                self._segments[id_] = number
                self._open[number] = self._open.get(number, 0) + 1
                yield Due(id_, created)
            self._passed = number
        self._passed = self._to

    def done(self, id_: str) -> None:
        """Take note that the messages of a completion are kept, or that there are none."""
        number = self._segments.pop(id_)
        if id_ in self._known.again:
            self._known.fetched.add(id_)
        self._open[number] -= 1
        if not self._open[number]:
            del self._open[number]

    def _footers(self, first: int) -> list[Footer]:
        """Return the segments to be looked at, from one number on."""
        return [footer for footer in self._archive.footers if first <= footer.number <= self._to]

    def _of(self, footer: Footer) -> Iterator[tuple[str, int | None]]:
        """Yield what is due of a segment."""
        if not footer.completions or not footer.is_of_the_api:
            return
        known, table = self._known, self._archive.columns(footer.number, _COLUMNS)
        is_due = pc.and_(pc.equal(table["kind"], "completion"), pc.invert(table["has_messages"]))
        # A row without an id cannot be asked for: the name that it is kept under is our own.
        table = table.filter(pc.and_not(is_due, pc.starts_with(table["id"], "no-id:")))
        wanted = dict(zip(table["id"].to_pylist(), table["created"].to_pylist(), strict=True))
        versions = set(table.filter(table["is_version"])["id"].to_pylist())
        before = self._fetched_before(versions - known.fetched, footer.first, footer.last) if versions else set()
        for id_, created in wanted.items():
            is_gone = known.gone.get(id_, 0) >= footer.number
            if id_ not in known.fetched and id_ not in before and id_ not in self._segments and not is_gone:
                yield id_, created

    @cached_property
    def _known(self) -> _Known:
        """What the segments to be looked at tell."""
        known = _Known(set(), {}, set())
        for footer in self._archive.footers:
            has_versions = footer.completions > footer.new
            if footer.number <= self._from or not (footer.messages or footer.gone or has_versions):
                continue
            table = self._archive.columns(footer.number, ["kind", "id", "is_version"])
            known.fetched.update(table.filter(pc.equal(table["kind"], "messages"))["id"].to_pylist())
            went = table.filter(pc.equal(table["kind"], "gone"))["id"].to_pylist()
            known.gone.update(dict.fromkeys(went, footer.number))
            known.again.update(table.filter(table["is_version"])["id"].to_pylist())
        return known

    def _fetched_before(self, ids: set[str], first: int | None, last: int | None) -> set[str]:
        """Return which of these completions had their messages fetched long ago, with an older version."""
        found: set[str] = set()
        wanted = pa.array(sorted(ids), pa.string())
        for footer in self._archive.footers:
            if footer.number > self._from or not footer.messages or not ids:
                continue
            if (footer.last or 0) < (first or 0) or (footer.first or 0) > (last or 0):
                continue
            table = self._archive.columns(footer.number, ["kind", "id"])
            is_ours = pc.and_(pc.equal(table["kind"], "messages"), pc.is_in(table["id"], value_set=wanted))
            found.update(table.filter(is_ours)["id"].to_pylist())
        return found
