"""What one stage hands the next; nothing else crosses from stage to stage.

extract gives ``Page``s, archive keeps them as segments and gives ``Segment``s back, transform makes one ``Batch``
of each, and a destination stores batches together with their ``Bookmark``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    import pyarrow as pa


#: The seconds that have a date, of the years 1 to 9999; a server may send any other number as ``created``.
DATED = range(-62_135_596_800, 253_402_300_800)


class Row(msgspec.Struct, frozen=True, gc=False):
    """One completion as the API sent it."""

    id: str
    """The API's id; ``no-id:`` and the content hash where it sent none."""
    created: int | None
    """Unix seconds; None where the API sent no whole number that fits 64 bits."""
    body: bytes
    """The row's JSON text, byte for byte."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the list endpoint."""

    rows: tuple[Row, ...]
    """In the order sent."""
    has_more: bool
    """What the server says; not to be trusted."""
    server_time: int
    """The ``Date`` of the answer in Unix seconds: what was visible then is what the page shows."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A known row to continue from."""

    id: str
    created: int


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a key answers for, as the server's headers name it; None where the server does not say."""

    organization: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """One walk over everything still listed, perhaps spread over several nights."""

    number: int
    """Counts the sweeps of a source, from 1."""
    goal: int
    """Unix second up to which it reads: the position when it began."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one UTC day says of an organization."""

    kind: str
    """``usage`` or ``costs``."""
    day: date
    body: bytes
    """Its JSON text, byte for byte; ``null`` where a complete answer did not show the day."""


@dataclass(frozen=True, slots=True)
class Span:
    """Everything that was visible at ``asked_at`` with start < created <= end has been read."""

    start: int | None
    """Unix second of the anchor; None is the beginning of the list."""
    end: int
    """Unix second, included."""
    asked_at: int
    """Server time in Unix seconds; ``end`` never exceeds it."""
    possibly_incomplete: tuple[int, ...] = ()
    """Seconds in the span that held more completions than the server could be made to show for certain."""
    sweep: Sweep | None = None
    """The sweep that read it; None is a run's own walk."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable file of the archive, read back."""

    source: str
    number: int
    table: pa.Table
    """Columns of ``schema.SEGMENT``, in the order they were received."""
    spans: tuple[Span, ...] = ()
    origin: str = "api"
    """``api``, or ``adopted`` where the rows were read from files that somebody saved."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """The last segment of a source that a destination holds; 0 is none."""

    source: str
    segment: int


#: Measured: what a batch of two completions takes, for it is eleven tables of many columns each.
_EMPTY_BYTES = 160_000


@dataclass(frozen=True, slots=True)
class Batch:
    """The Arrow tables flattened from one segment, one version per completion."""

    bookmark: Bookmark
    """Becomes true in the act that stores the tables."""
    tables: Mapping[str, pa.Table]
    """By table name, each with exactly the Arrow schema that ``schema`` declares."""
    replaced: Mapping[str, int | None] = field(default_factory=dict)
    """Completion id to ``created`` of the version before it, for completions that were held already."""
    fetched: frozenset[str] = frozenset()
    """Completions whose input messages are in this batch, all of them: rows of ``messages`` are replaced only so."""
    updates: Mapping[str, pa.Table] = field(default_factory=dict)
    """By table: values that close rows held before this batch. Columns ``id`` and ``created_date`` say which rows
    (by completion id, or the table's identity), the others what to set where the first of them is still NULL."""
    rejected: int = 0
    """Completions with at least one value that could not be flattened."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes: of all its tables, which take some however little is in them."""
        sizes: Iterable[int] = (table.nbytes for table in (*self.tables.values(), *self.updates.values()))
        return _EMPTY_BYTES + sum(sizes)


class Destination(Protocol):
    """Where batches go; derived from the archive, so it may lag, be deleted, or be added at any time."""

    name: str

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment held by source, read from what is stored; a source never loaded is absent."""
        ...

    def load(self, batches: Sequence[Batch], *, settle: bool = True) -> None:
        """Store batches of one source, oldest first, with the last one's bookmark: all or nothing.

        Durable on return; without ``settle``, when ``settle`` returns, together with all that was loaded before: more
        is about to come. What fails takes back everything unsettled. Loading what is held already changes nothing. A
        completion in a later batch replaces every row of its older version in all tables, whatever its date. Raises
        DiskFullError, RefusedError.
        """
        ...

    def settle(self) -> None:
        """Make everything durable that was loaded. Raises as ``load``."""
        ...

    def close(self) -> None:
        """Let go of files and locks; what was settled is durable, nothing else is there."""
        ...


@runtime_checkable
class Staging(Destination, Protocol):
    """A destination that was made anew where the one lies that serves on, and that nobody sees yet."""

    def take_place(self) -> None:
        """Show what was loaded in the place of what was there of these sources. Raises as ``load``."""
        ...
