"""What sweeps have marked: which completions are missed and not yet asked for, which went, how many are left."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.held import Held, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.archive.held import State
    from pipeline.archive.segments import Archive

_MARKS = pa.array(["missed", "found", "gone"])


class Missed(msgspec.Struct, frozen=True):
    """The body of a mark: a sweep did not see a completion that is held."""

    first_missed: int
    """Microseconds since 1970, by the server's clock."""
    last_seen: int | None
    """When the source last listed it, as far as the coverage tells."""


class Gone(msgspec.Struct, frozen=True):
    """The body of a mark: the completion's own GET said not found."""

    gone_at: int
    reason: str
    """``deleted`` or ``expired``."""
    last_seen: int | None
    first_missed: int


class Pending(msgspec.Struct, frozen=True):
    """A completion that was missed and not yet asked for."""

    id: str
    created: int | None
    first_seen: int
    """Microseconds since 1970."""
    mark: Missed


def pending(archive: Archive) -> dict[str, Pending]:
    """Return what was missed and has since been neither found nor gone, oldest mark first."""
    waiting: dict[str, Pending] = {}
    for footer in archive.footers:
        if not (footer.missed or footer.gone or footer.found):
            continue
        notes = archive.notes(footer.number)
        rows = notes.filter(pc.is_in(notes["kind"], value_set=_MARKS))
        first_seen = rows["first_seen"].cast(pa.int64()).to_pylist()
        for row, since in zip(rows.select(["kind", "id", "created", "body"]).to_pylist(), first_seen, strict=True):
            before = waiting.pop(row["id"], None)
            if row["kind"] == "missed":
                mark = before.mark if before else msgspec.json.decode(row["body"], type=Missed)
                waiting[row["id"]] = Pending(row["id"], row["created"], since, mark)
    return waiting


def gone(archive: Archive, since: int) -> set[str]:
    """Return which completions created at ``since`` or later were found gone; some may have come back."""
    found: set[str] = set()
    for footer in archive.footers:
        if footer.gone and (footer.last or 0) >= since:
            notes = archive.notes(footer.number)
            is_late = pc.fill_null(pc.greater_equal(notes["created"], since), False)
            found.update(notes.filter(pc.and_(pc.equal(notes["kind"], "gone"), is_late))["id"].to_pylist())
    return found


def live(archive: Archive, is_expected: Callable[[str, State], bool], *, enough: int) -> int:
    """Count the completions held that the source is not known to have lost, of those that it is expected to list.

    States are counted, a window of them in memory, and no further than ``enough``.
    """
    count = 0
    for id_, state in Held(archive).all():
        count += is_expected(id_, state)
        if count >= enough:
            break
    return count


def boundaries(archive: Archive, every: int) -> list[int]:
    """Return the seconds that cut what is held into parts of about ``every`` completions, oldest first."""
    cuts: set[int] = set()
    waiting = pa.array([], pa.int64())
    footers = sorted(listed(archive), key=lambda footer: footer.first or 0)
    for footer, following in pairwise([*footers, None]):
        if footer is None:
            continue
        table = archive.columns(footer.number, ["kind", "created"])
        seconds = table.filter(pc.equal(table["kind"], "completion"))["created"].drop_null()
        # Segments of few completions, as nights write them, are cut together.
        waiting = pc.take(both := pa.concat_arrays([waiting, *seconds.chunks]), pc.sort_indices(both))
        # What lies beyond the next one's beginning is cut with it: a segment may reach to the newest completion.
        until = pa.scalar(following.first if following else None, pa.int64())
        ready = waiting.filter(pc.less(waiting, until)) if following else waiting
        whole = len(ready) // every * every
        cuts.update(waiting[every - 1 : whole : every].to_pylist())
        waiting = waiting[whole:]
    return sorted(cuts)
