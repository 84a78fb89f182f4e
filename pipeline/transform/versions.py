"""The completions of a segment, one version each: read strictly where possible, leniently where not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.transform import columns, lenient, strict
from pipeline.transform.lenient import Reject

if TYPE_CHECKING:
    from pipeline.transform.shapes import Completion


@dataclass(frozen=True)
class Versions:
    """What one segment holds of completions, row by row."""

    received: pa.Table
    """Columns of ``schema.SEGMENT``, without the body."""
    created: pa.Array
    """As timestamps; NULL where there is no usable second."""
    completions: list[Completion]
    rejects: dict[int, list[Reject]]
    """By row; a row without any is absent."""

    @cached_property
    def metadata(self) -> pa.Array:
        """The column of that name, which two tables have."""
        return pa.array([completion.metadata for completion in self.completions], schema.MAP)

    @cached_property
    def content_hash(self) -> pa.Array:
        """The column of that name, which two tables have."""
        return columns.hexadecimal(self.received["content_hash"])

    def latest(self) -> Versions:
        """Keep the last version of each id."""
        last = {id_: row for row, id_ in enumerate(self.received["id"].to_pylist())}
        if len(last) == len(self.received):
            return self
        return self._at(pa.array(sorted(last.values()), pa.int64()))

    def arranged(self) -> Versions:
        """Put them into the order of created and id, in which destinations keep rows: here it costs next to nothing."""
        keys = pa.table([self.created, self.received["id"]], names=["created", "id"])
        places = pc.sort_indices(keys, sort_keys=[("created", "ascending"), ("id", "ascending")])
        return self if places.equals(pa.array(range(len(keys)), places.type)) else self._at(places)

    def _at(self, places: pa.Array) -> Versions:
        """Keep those at ``places``, in that order."""
        rows = places.to_pylist()
        rejects = {place: self.rejects[row] for place, row in enumerate(rows) if row in self.rejects}
        kept = [self.completions[row] for row in rows]
        return Versions(self.received.take(places), self.created.take(places), kept, rejects)


def replaced(received: pa.Table) -> dict[str, int | None]:
    """Map each id that was held before to ``created`` of the version held, which the id's first row tells."""
    again = received.filter(received["is_version"])
    found: dict[str, int | None] = {}
    for id_, created in zip(again["id"].to_pylist(), again["previous_created"].to_pylist(), strict=True):
        found.setdefault(id_, created)
    return found


def read(received: pa.Table) -> Versions:
    """Read every body; what cannot be read is a reject and stops nothing."""
    completions: list[Completion] = []
    rejects: dict[int, list[Reject]] = {}
    bodies = columns.views(received["body"])
    for row, decoded in enumerate(strict.decode_all(bodies)):
        completion, unfit = (decoded, []) if decoded is not None else lenient.read(bytes(bodies[row]))
        if unfit:
            rejects[row] = unfit
        completions.append(completion)
    created = columns.timestamps(received["created"].combine_chunks())
    _reject_undated(created, rejects)
    return Versions(received.drop_columns(["body"]), created, completions, rejects)


def _reject_undated(created: pa.Array, rejects: dict[int, list[Reject]]) -> None:
    """See that every row without a usable second has a reject that says so."""
    if not created.null_count:
        return
    for row, missing in enumerate(created.is_null().to_pylist()):
        unfit = rejects.setdefault(row, []) if missing else []
        if missing and all(reject.path != "created" for reject in unfit):
            unfit.append(Reject("created", "no second of the years 1 to 9999"))
