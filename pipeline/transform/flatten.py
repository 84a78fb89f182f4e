"""One segment in, one batch of Arrow tables out; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from pipeline.handoff import Batch, Bookmark
from pipeline.transform import logs, tables, versions

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.handoff import Segment


def flatten(segment: Segment) -> Batch:
    """Flatten a segment; a row that cannot be flattened is in ``rejects`` and stops no other.

    The segment's own columns decide on id and created, not the bodies. Rows of unknown kinds are passed over.
    """
    received = _of(segment, "completion")
    read = versions.read(versions.latest(received))
    parents = tables.Parents.of(segment, read)
    return Batch(
        bookmark=Bookmark(segment.source, segment.number),
        tables={
            "completions": tables.completions(parents, read),
            "choices": tables.choices(parents, read),
            "tool_calls": tables.tool_calls(parents, read),
            "rejects": tables.rejects(parents, read),
            "runs": logs.runs(segment, _of(segment, "run")),
            "coverage": logs.coverage(segment, _of(segment, "coverage")),
        },
        replaced=versions.replaced(received),
        rejected=len(read.rejects),
    )


def _of(segment: Segment, kind: str) -> pa.Table:
    return segment.table.filter(pc.equal(segment.table["kind"], kind))
