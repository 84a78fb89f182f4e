"""Takes rows as received and keeps each version once: what is new or changed is buffered and cut into segments.

A row is compared with the latest state held of its id. Rows whose bytes differ are compared as parsed JSON before
they are called changed: servers do not keep the order of keys.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa

from pipeline import schema
from pipeline.archive.content import Content, Stored
from pipeline.archive.held import Held, State
from pipeline.handoff import DATED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.archive.blobs import Blobs
    from pipeline.archive.segments import Archive, Footer, Reading
    from pipeline.handoff import Page, Row

#: Skipped ids remembered, so that a row that the walk repeats counts once: far more than a retreat goes back.
REMEMBERED = 10_000


#: Servers that send the inputs inline (llama-stack, OGX) store an id again in place, with another ``created``: there an
#: id is looked up among all that are held, which costs memory; such stores are small.
OVERWRITING = b'"input_messages"'


@dataclass(slots=True)
class Counts:
    """What became of the rows received."""

    new: int = 0
    changed: int = 0
    skipped: int = 0
    """Received again unchanged; rows that the walk itself repeats are not counted."""
    forgotten: int = 0
    """Received and not taken in again: they were forgotten."""
    messages: int = 0
    """Completions whose input messages were kept."""
    gone: int = 0
    missed: int = 0
    largest_lateness: int | None = None
    """Seconds between ``created`` of a new row and the position, at most, for rows older than the position."""


class _Kept(NamedTuple):
    """One row of a segment: the columns of ``schema.SEGMENT``, in their order."""

    kind: str
    id: str
    created: int | None
    fetched_at: int
    """Microseconds since 1970, as ``first_seen``."""
    first_seen: int
    is_version: bool
    previous_created: int | None
    content_hash: bytes
    has_messages: bool
    blobs: tuple[bytes, ...]
    body: bytes

    @classmethod
    def about(cls, kind: str, id_: str, created: int | None, now: int, stored: Stored) -> _Kept:
        """Make a row that is no completion but says something about one."""
        digest = hashlib.sha256(stored.body).digest()
        return cls(kind, id_, created, now, now, False, None, digest, False, stored.blobs, stored.body)

    @classmethod
    def note(cls, kind: str, id_: str, now: int, body: bytes) -> _Kept:
        """Make a row that is a fact about the run."""
        return cls.about(kind, id_, None, now, Stored(body))


_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Keeps what one run receives from one source.

    ``position`` is where the former runs had read to: a new row from before it came late. ``segment_size`` bounds the
    bodies of a segment: what is fetched again, at most, after a crash, and what a stage holds in memory at a time.
    """

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        archive: Archive,
        position: int | None,
        *,
        segment_size: int,
        blobs: Blobs,
        content: Content | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.counts = Counts()
        self._archive = archive
        self._blobs = blobs
        self._content = content or Content()
        self._held = Held(archive)
        self._position = position
        self._segment_size = segment_size
        self._clock = now
        self._begun_behind = archive.last
        self._rows: list[_Kept] = []
        self._marks: list[_Kept] = []
        self._from_newest: set[int] = set()
        """Places of rows that a walk from the newest end brought: they make a segment of their own."""
        self._bytes = {False: 0, True: 0}
        self._skipped: OrderedDict[str, None] = OrderedDict()
        self._bodies = lru_cache(maxsize=2)(self._read_bodies)

    @property
    def is_full(self) -> bool:
        """Whether it is time to cut a segment."""
        return max(self._bytes.values()) >= self._segment_size

    def known(self, page: Page, held: Held | None = None, *, window: int | None = None) -> frozenset[str]:
        """Return which ids of a page are held; ``held`` looks into another window, for walks side by side.

        ``window`` bounds how much is looked up of what follows the page: 0 where nothing will be asked of it. A row
        whose ``created`` cannot be read may be held under any: it is looked up among all that are held.
        """
        held = held or self._held
        seconds = [row.created for row in page.rows if row.created is not None]
        is_undated = any(row.created is None and not row.id.startswith("no-id:") for row in page.rows)
        if is_undated or (page.rows and OVERWRITING in page.rows[0].body):
            held.cover_all()
        elif seconds:
            held.cover(min(seconds), max(seconds), window=window)
        return frozenset(row.id for row in page.rows if held.state(row.id))

    def take(self, page: Page, held: Held | None = None, *, from_newest: bool = False, is_walk: bool = True) -> None:
        """Keep the rows of a page that are new or changed; ``known`` was asked about the same page before.

        Rows ``from_newest`` are cut into segments of their own: a segment holds one stretch of seconds. What came late
        is told where the page ``is_walk``, one that the position rests on: no overlap could reach what others show.
        """
        now, segment = self._now(), self._archive.last + 1
        before, size = len(self._rows), self._bytes[False]
        for row in page.rows:
            self._take(row, now, segment, held or self._held, is_walk=is_walk)
        if from_newest:
            taken = range(before, len(self._rows))
            # A version stays behind the one that it replaces, which may stand in the other segment.
            self._from_newest.update(place for place in taken if not self._rows[place].is_version)
            self._bytes[True] += self._bytes[False] - size
            self._bytes[False] = size

    def _now(self) -> int:
        """Tell the time in microseconds since 1970."""
        return (self._clock() - _EPOCH) // _MICROSECOND

    def _take(self, row: Row, now: int, segment: int, held: Held, *, is_walk: bool) -> None:
        if self._archive.tombstones.cover(row.id):
            self.counts.forgotten += 1
            return
        state, stored = held.state(row.id), self._content.completion(row.body)
        content_hash = hashlib.sha256(stored.body).digest()
        if state is None:
            self.counts.new += 1
            if is_walk:
                self._note_lateness(row)
        elif self._is_listed(state) and (state.content_hash == content_hash or self._same(state, row)):
            self._skip(row, state)
            return
        else:
            self.counts.changed += 1
        first_seen = state.first_seen if state else now
        held.add(row.id, State(row.created, first_seen, content_hash, segment, len(self._rows)))
        self._keep(
            _Kept(
                "completion",
                row.id,
                row.created,
                now,
                first_seen,
                state is not None,
                state.created if state else None,
                content_hash,
                OVERWRITING in stored.body,
                stored.blobs,
                stored.body,
            ),
            stored,
        )

    @staticmethod
    def _is_listed(state: State) -> bool:
        return not state.is_gone and not state.is_adopted

    def take_messages(self, id_: str, created: int | None, bodies: Sequence[bytes] | None) -> None:
        """Keep the input messages of a completion, whole; None where the source has none of it."""
        stored = Stored(b"null") if bodies is None else self._content.messages(bodies)
        self._keep(_Kept.about("messages", id_, created, self._now(), stored), stored)
        self.counts.messages += 1

    def mark(self, kind: str, id_: str, created: int | None, first_seen: int, body: bytes) -> None:
        """Keep a mark about a completion: missed, found or gone. It comes after every row taken so far."""
        row = _Kept.about(kind, id_, created, self._now(), Stored(body))
        self._marks.append(row._replace(first_seen=first_seen))
        self.counts.gone += kind == "gone"
        self.counts.missed += kind == "missed"

    def _skip(self, row: Row, state: State) -> None:
        """Count a row received again, once however often the walk itself repeats it."""
        if state.segment > self._begun_behind or row.id in self._skipped:
            return
        self.counts.skipped += 1
        self._skipped[row.id] = None
        if len(self._skipped) > REMEMBERED:
            self._skipped.popitem(last=False)

    def _keep(self, row: _Kept, stored: Stored) -> None:
        for digest, content in stored.contents.items():
            self._blobs.put(digest, content)
        self._rows.append(row)
        self._bytes[False] += len(row.body)

    def _note_lateness(self, row: Row) -> None:
        if self._position is None or row.created is None or row.created not in DATED:
            return
        if row.created <= self._position:
            self.counts.largest_lateness = max(self.counts.largest_lateness or 0, self._position - row.created)

    def _same(self, state: State, row: Row) -> bool:
        """Compare with the body held, as parsed JSON; what a change of policy withholds makes no difference."""
        is_ours = state.segment > self._archive.last
        under = self._content if is_ours else self._archive.footer(state.segment).reading.content
        return self._content.same(self._body(state), under, row.body)

    def _body(self, state: State) -> bytes:
        if state.segment > self._archive.last:
            return self._rows[state.row].body
        return self._bodies(state.segment)[state.row].as_py()  # type: ignore[no-any-return]

    def _read_bodies(self, number: int) -> pa.ChunkedArray:
        return self._archive.columns(number, ["body"])["body"]

    def cut(self, reading: Reading, *, run: tuple[str, bytes] | None = None) -> Footer:
        """Write what was taken as one segment, with its coverage, and with the record of the run where it ends."""
        now = self._now()
        notes = [_Kept.note("coverage", "", now, msgspec.json.encode(span)) for span in reading.spans]
        if run is not None:
            notes.append(_Kept.note("run", run[0], now, run[1]))
        apart = [self._rows[place] for place in sorted(self._from_newest)]
        rest = [row for place, row in enumerate(self._rows) if place not in self._from_newest] if apart else self._rows
        if apart:  # first: what the spans of the other segment speak of must be there
            self._archive.append(_table(apart), replace(reading, spans=()), written=lambda: self._have_cut(apart, rest))
        footer = self._archive.append(_table([*rest, *self._marks, *notes]), reading, written=self._have_cut_all)
        self._blobs.have_come()
        return footer

    def _have_cut(self, apart: list[_Kept], rest: list[_Kept]) -> None:
        """Let go of rows that are in a segment, whatever comes next: cut again, they would be there twice."""
        self._held.renumber(self._archive.last, [row.id for row in apart])
        self._rows, self._from_newest, self._bytes[True] = rest, set(), 0
        self._held.renumber(self._archive.last + 1, [row.id for row in rest])

    def _have_cut_all(self) -> None:
        self._rows, self._marks, self._bytes = [], [], {False: 0, True: 0}

    @property
    def has_rows(self) -> bool:
        """Whether something waits to be cut."""
        return bool(self._rows or self._marks)

    def move(self, position: int | None) -> None:
        """Judge lateness by another position from now on."""
        self._position = position

    def forget_before(self, second: int) -> None:
        """Let go of what is known of rows that the walk has left behind; everything taken has been cut."""
        self._held.forget_before(second)

    def forget_after(self, second: int) -> None:
        """Let go of what is known of later rows, which a walk from the newest end has left behind."""
        self._held.forget_after(second)


def _table(rows: list[_Kept]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema.SEGMENT)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.SEGMENT, strict=True)]
    return pa.table(arrays, schema=schema.SEGMENT)
