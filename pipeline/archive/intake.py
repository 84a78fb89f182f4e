"""Takes rows as received and keeps each version once: what is new or changed is buffered and cut into segments.

A row is compared with the latest state held of its id. Rows whose bytes differ are compared as parsed JSON before
they are called changed: servers do not keep the order of keys.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa

from pipeline import schema
from pipeline.archive.held import Held, State

if TYPE_CHECKING:
    from collections.abc import Callable

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
    largest_lateness: int | None = None
    """Seconds between ``created`` of a new row and the position, at most, for rows older than the position."""


class _Kept(NamedTuple):
    """One row of a segment: the columns of ``schema.SEGMENT``, in their order."""

    kind: str
    id: str
    created: int | None
    fetched_at: datetime
    first_seen: datetime
    is_version: bool
    previous_created: int | None
    content_hash: bytes
    body: bytes

    @classmethod
    def note(cls, kind: str, id_: str, now: datetime, body: bytes) -> _Kept:
        """Make a row that is no completion: a fact about the run."""
        return cls(kind, id_, None, now, now, False, None, hashlib.sha256(body).digest(), body)


def _now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """Keeps what one run receives from one source.

    ``position`` is where the former runs had read to: a new row from before it came late. ``segment_size`` bounds the
    bodies of a segment: what is fetched again, at most, after a crash, and what a stage holds in memory at a time.
    """

    def __init__(
        self, archive: Archive, position: int | None, *, segment_size: int, now: Callable[[], datetime] = _now
    ) -> None:
        self.counts = Counts()
        self._archive = archive
        self._held = Held(archive)
        self._position = position
        self._segment_size = segment_size
        self._now = now
        self._begun_behind = archive.last
        self._rows: list[_Kept] = []
        self._bytes = 0
        self._skipped: OrderedDict[str, None] = OrderedDict()
        self._bodies = lru_cache(maxsize=2)(self._read_bodies)

    @property
    def is_full(self) -> bool:
        """Whether it is time to cut a segment."""
        return self._bytes >= self._segment_size

    def known(self, page: Page) -> frozenset[str]:
        """Return which ids of a page are held."""
        seconds = [row.created for row in page.rows if row.created is not None]
        if page.rows and OVERWRITING in page.rows[0].body:
            self._held.cover_all()
        elif seconds:
            self._held.cover(min(seconds), max(seconds))
        return frozenset(row.id for row in page.rows if self._held.state(row.id))

    def take(self, page: Page) -> None:
        """Keep the rows of a page that are new or changed; ``known`` was asked about the same page before."""
        now = self._now()
        for row in page.rows:
            self._take(row, now)

    def _take(self, row: Row, now: datetime) -> None:
        state, content_hash = self._held.state(row.id), hashlib.sha256(row.body).digest()
        if state is None:
            self.counts.new += 1
            self._note_lateness(row)
        elif state.content_hash == content_hash or self._same(state, row):
            self._skip(row, state)
            return
        else:
            self.counts.changed += 1
        first_seen = state.first_seen if state else now
        self._held.add(row.id, State(row.created, first_seen, content_hash, self._archive.last + 1, len(self._rows)))
        previous = state.created if state else None
        is_version = state is not None
        self._keep(
            _Kept("completion", row.id, row.created, now, first_seen, is_version, previous, content_hash, row.body)
        )

    def _skip(self, row: Row, state: State) -> None:
        """Count a row received again, once however often the walk itself repeats it."""
        if state.segment > self._begun_behind or row.id in self._skipped:
            return
        self.counts.skipped += 1
        self._skipped[row.id] = None
        if len(self._skipped) > REMEMBERED:
            self._skipped.popitem(last=False)

    def _keep(self, row: _Kept) -> None:
        self._rows.append(row)
        self._bytes += len(row.body)

    def _note_lateness(self, row: Row) -> None:
        if self._position is not None and row.created is not None and row.created <= self._position:
            self.counts.largest_lateness = max(self.counts.largest_lateness or 0, self._position - row.created)

    def _same(self, state: State, row: Row) -> bool:
        """Compare with the body held, as parsed JSON; what cannot be parsed is compared by its bytes alone."""
        canonical = _canonical(row.body)
        return canonical is not None and canonical == _canonical(self._body(state))

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
        footer = self._archive.append(_table([*self._rows, *notes]), reading)
        self._rows, self._bytes = [], 0
        return footer

    def forget_before(self, second: int) -> None:
        """Let go of what is known of rows that the walk has left behind."""
        self._held.forget_before(second)


def _table(rows: list[_Kept]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema.SEGMENT)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.SEGMENT, strict=True)]
    return pa.table(arrays, schema=schema.SEGMENT)


def _canonical(body: bytes) -> bytes | None:
    """Write parsed JSON in one way: keys sorted, numbers and escapes as one writer makes them."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, OverflowError):
        return None
