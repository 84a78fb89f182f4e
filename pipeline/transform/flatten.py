"""One segment in, one batch of Arrow tables out; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.handoff import Batch, Bookmark
from pipeline.transform import history, logprobs, logs, messages, organization, tables, versions
from pipeline.transform.history import Gone
from pipeline.transform.tables import Parents

if TYPE_CHECKING:
    from pipeline.handoff import Segment


def flatten(segment: Segment, *, tokens: bool = False) -> Batch:
    """Flatten a segment; a row that cannot be flattened is in ``rejects`` and stops no other.

    The segment's own columns decide on id and created, not the bodies. Rows of unknown kinds are passed over.
    ``tokens`` fills the table of log probabilities.
    """
    received = _of(segment, "completion")
    every = versions.read(received)
    latest, gone = every.latest(), Gone.of(_of(segment, "gone"))
    read = latest.arranged()
    every = read if latest is every else every
    parents, all_parents = Parents.of(segment, read), Parents.of(segment, every)
    turns = messages.fetched(segment, _of(segment, "messages"))
    inline = messages.inline(all_parents, every, turns)
    return Batch(
        bookmark=Bookmark(segment.source, segment.number),
        tables={
            "completions": tables.completions(parents, read, gone, segment.origin),
            "choices": tables.choices(parents, read),
            "tool_calls": tables.tool_calls(parents, read),
            "messages": pa.concat_tables([messages.rows(turns), messages.rows(inline)]),
            "logprobs": logprobs.rows(parents, read, is_asked=tokens),
            "metadata_history": history.rows(all_parents, every, gone),
            "rejects": pa.concat_tables(
                [tables.rejects(parents, read.rejects), tables.rejects(turns.parents, turns.rejects)]
            ),
            "runs": logs.runs(segment, _of(segment, "run")),
            "coverage": logs.coverage(segment, _of(segment, "coverage")),
            "organization_usage": organization.usage(segment, _of(segment, "usage")),
            "organization_costs": organization.costs(segment, _of(segment, "costs")),
        },
        replaced=versions.replaced(received),
        fetched=frozenset(turns.parents.id.to_pylist()).union(inline.parents.id.to_pylist()),
        updates=history.updates(received, gone),
        rejected=len(read.rejects) + len(turns.rejects),
    )


def _of(segment: Segment, kind: str) -> pa.Table:
    """Return the rows of a kind, uncopied where they lie together, as they mostly do."""
    places = pc.indices_nonzero(pc.equal(segment.table["kind"], pa.scalar(kind, pa.string())))
    count = len(places)
    first = places[0].as_py() if count else 0
    lie_together = not count or places[count - 1].as_py() - first == count - 1
    return segment.table.slice(first, count) if lie_together else segment.table.take(places)
