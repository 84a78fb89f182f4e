"""What the archive holds of an id: its latest state, looked up in a window of ``created`` that moves with the walk.

Memory stays flat whatever is held: only segments that overlap the window are read, and of them no bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.handoff import Anchor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pipeline.archive.segments import Archive, Footer

#: Ids kept in memory at a time, about; each costs some 300 bytes.
WINDOW_IDS = 200_000
#: Anchors handed to a walk; the distance between them doubles, so the last one lies far back.
ANCHORS = 12

_ALWAYS = (-(2**63), 2**63)
_COLUMNS = ["kind", "id", "created", "first_seen", "content_hash"]
_STATES = pa.array(["completion", "gone"])
_COMPLETION, _GONE = (pa.scalar(kind, pa.string()) for kind in ("completion", "gone"))
_NO = pa.scalar(False, pa.bool_())


class State(msgspec.Struct, frozen=True, gc=False):
    """The latest version held of a completion."""

    created: int | None
    first_seen: int
    """Microseconds since 1970: making a datetime of a column takes Arrow 4 µs a value, an integer none."""
    content_hash: bytes
    segment: int
    row: int
    is_gone: bool = False
    """Whether it was found gone from the source: listed again, it is a new version whatever it says."""
    is_adopted: bool = False
    """Whether it was read from saved files only: listed for the first time, it is a new version too."""


class Held:
    """Answers which state is held of an id, for ids in the window that was asked for last.

    Who knows the ``stretch`` of seconds that will be asked for has it read at once, and no more than that.
    """

    def __init__(self, archive: Archive, *, window: int = WINDOW_IDS, stretch: tuple[int, int] | None = None) -> None:
        self._archive = archive
        self._window = window
        self._stretch = stretch
        self._from, self._to = 0, -1
        self._is_pinned = False
        self._states: dict[str, State] = {}
        self._undated: dict[str, State] = {}
        for footer in archive.footers:
            if footer.undated:
                self._undated.update(self._read(footer.number, None))

    def cover(self, first: int, last: int, *, window: int | None = None) -> None:
        """Make states of first <= created <= last known, and of what follows up to ``window`` ids, about."""
        if self._from <= first and last <= self._to:
            return
        if self._stretch is not None:
            first, last = min(first, self._stretch[0]), max(last, self._stretch[1])
        overlapping = [footer for footer in self._archive.footers if footer.last is not None and footer.last >= first]
        self._from, self._to = first, last
        if self._stretch is None:
            self._to = self._reach(overlapping, last, self._window if window is None else window)
        unwritten = {id_: state for id_, state in self._states.items() if state.segment > self._archive.last}
        self._states = {}
        for footer in overlapping:
            if (footer.first or 0) <= self._to:
                self._states.update(self._read(footer.number, (self._from, self._to)))
        self._states.update(unwritten)

    def cover_all(self) -> None:
        """Make every state known, for servers on which an id may come again with another ``created``."""
        self.cover(*_ALWAYS)
        self._is_pinned = True

    def state(self, id_: str) -> State | None:
        """Return the latest state held; None for an id that is not held."""
        if not self._undated:
            return self._states.get(id_)
        states = [state for state in (self._states.get(id_), self._undated.get(id_)) if state]
        return max(states, key=lambda state: (state.segment, state.row), default=None)

    def add(self, id_: str, state: State) -> None:
        """Take note of a version that is about to be written."""
        self._states.pop(id_, None)
        self._undated.pop(id_, None)
        (self._undated if state.created is None else self._states)[id_] = state

    def renumber(self, segment: int, ids: Iterable[str]) -> None:
        """Note where rows that were taken stand, now that they are written; the last row of an id is its latest."""
        for row, id_ in enumerate(ids):
            for states in (self._states, self._undated):
                if (state := states.get(id_)) is not None:
                    states[id_] = msgspec.structs.replace(state, segment=segment, row=row)

    def forget_before(self, second: int) -> None:
        """Let go of states that the walk has left behind; they are read again should it come back."""
        if self._is_pinned:
            return
        self._from = max(self._from, second)
        self._states = {
            id_: state for id_, state in self._states.items() if state.created is None or state.created >= second
        }

    def forget_after(self, second: int) -> None:
        """Let go of states later than ``second``, which a walk from the other end has left behind."""
        if self._is_pinned:
            return
        self._to = min(self._to, second)
        self._states = {
            id_: state for id_, state in self._states.items() if state.created is None or state.created <= second
        }

    @staticmethod
    def _reach(overlapping: list[Footer], last: int, window: int) -> int:
        """Return how far a window from here may go without holding too many ids; at least to ``last``."""
        total = 0
        for footer in sorted(overlapping, key=lambda footer: footer.first or 0):
            if total > window and (footer.first or 0) > last:
                return (footer.first or 0) - 1
            total += footer.completions
        return _ALWAYS[1]

    def within(self, first: int, last: int) -> Iterator[tuple[str, State]]:
        """Yield what is held and listed as far as is known, with first <= created <= last, of the window covered."""
        for id_, state in self._states.items():
            is_inside = state.created is not None and first <= state.created <= last
            if is_inside and not state.is_gone and not state.is_adopted:
                yield id_, state

    def all(self) -> Iterator[tuple[str, State]]:
        """Yield everything dated that is held and listed as far as is known, one window after the other."""
        firsts = [footer.first for footer in self._archive.footers if footer.first is not None]
        last = max((footer.last for footer in self._archive.footers if footer.last is not None), default=0)
        second = min(firsts, default=last + 1)
        while second <= last:
            self.cover(second, second)
            yield from self.within(second, self._to)
            second = self._to + 1

    def _read(self, number: int, window: tuple[int, int] | None) -> Iterator[tuple[str, State]]:
        """Yield the completions of a segment in a window; without one, those whose created could not be read."""
        table = self._archive.columns(number, _COLUMNS)
        is_adopted = not self._archive.footer(number).is_of_the_api
        created = table["created"]
        inside = pc.is_null(created) if window is None else _between(created, window)
        is_state = pc.is_in(table["kind"], value_set=_STATES)
        wanted = pc.indices_nonzero(pc.fill_null(pc.and_(is_state, inside), _NO))
        part = table.take(wanted)
        columns = (
            part["id"].to_pylist(),
            part["created"].to_pylist(),
            part["first_seen"].cast(pa.int64()).to_pylist(),
            _digests(part["content_hash"]),
            wanted.to_pylist(),
            pc.equal(part["kind"], _GONE).to_pylist(),
        )
        for id_, second, first_seen, content_hash, row, is_gone in zip(*columns, strict=True):
            yield id_, State(second, first_seen, content_hash, number, row, is_gone, is_adopted)


def anchors(archive: Archive, before: int, without: Collection[str] = ()) -> list[Anchor]:
    """Return held rows older than ``before`` to begin a walk at, newest first, further and further apart.

    ``without`` are those that the source does not list any more: each would cost a request and prove nothing.
    Rows that are alone in their second come first in the choice: no sibling can blur what follows them. Something
    must be held beyond an anchor, or nothing could prove it, so the newest second held is left out.
    """
    newest = max((footer.last for footer in listed(archive) if footer.last is not None), default=0)
    below = min(before, newest)
    chosen: list[Anchor] = []
    position = wanted = 0
    # A segment may lie within another one: that of a late row, which a sweep found, hides nothing that is newer.
    for footer in sorted(listed(archive), key=lambda footer: footer.first or 0, reverse=True):
        if len(chosen) == ANCHORS:
            break
        if footer.first is None or footer.first >= below:
            continue
        if position + footer.completions <= wanted:  # not opened: a night must not grow with the number of segments
            position += footer.completions
        else:
            older = _older(archive, footer.number, below, without)
            while wanted < position + older.num_rows and len(chosen) < ANCHORS:
                place = wanted - position
                chosen.append(Anchor(older["id"][place].as_py(), older["created"][place].as_py()))
                wanted = 2 * wanted + 1
            position += older.num_rows
    return sorted(chosen, key=lambda anchor: anchor.created, reverse=True)


def _older(archive: Archive, number: int, below: int, without: Collection[str]) -> pa.Table:
    """Return the rows of a segment that are older than ``below``, newest first, those alone in their second only."""
    table = archive.columns(number, ["kind", "id", "created"])
    keep = pc.and_(pc.equal(table["kind"], _COMPLETION), pc.less(table["created"], pa.scalar(below, pa.int64())))
    keep = pc.and_not(pc.fill_null(keep, _NO), pc.starts_with(table["id"], "no-id:"))
    part = table.filter(keep).sort_by([("created", "descending")])
    if without:
        part = part.filter(pa.array([id_ not in without for id_ in part["id"].to_pylist()], pa.bool_()))
    return _alone(part)


def listed(archive: Archive) -> list[Footer]:
    """Return the segments whose completions the source itself has listed."""
    return [footer for footer in archive.footers if footer.completions and footer.is_of_the_api]


def _alone(rows: pa.Table) -> pa.Table:
    """Return the rows that are alone in their second; all of them, where none is. They are sorted by it."""
    seconds = rows["created"].combine_chunks()
    differs = pc.not_equal(seconds[1:], seconds[:-1])
    edge = pa.array([True] if len(seconds) else [], pa.bool_())
    alone = rows.filter(pc.and_(pa.concat_arrays([edge, differs]), pa.concat_arrays([differs, edge])))
    return alone if alone.num_rows else rows


def _between(created: pa.ChunkedArray, window: tuple[int, int]) -> pa.ChunkedArray:
    first, last = (pa.scalar(second, pa.int64()) for second in (window[0], min(window[1], _ALWAYS[1] - 1)))
    return pc.and_(pc.greater_equal(created, first), pc.less_equal(created, last))


def _digests(column: pa.ChunkedArray) -> list[bytes]:
    """Return binary values of one size, cut from their buffer: Arrow makes an object of its own for each first."""
    values = column.combine_chunks()
    size, start = values.type.byte_width, values.offset * values.type.byte_width
    data = values.buffers()[1].to_pybytes() if len(values) else b""
    return [data[at : at + size] for at in range(start, start + len(values) * size, size)]
