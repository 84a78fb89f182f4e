"""The tables that hold what the program did itself; their rows are its own JSON, so they fit or are a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from pipeline import schema
from pipeline.handoff import DATED
from pipeline.transform.columns import dates, table, timestamps
from pipeline.transform.tables import origin

if TYPE_CHECKING:
    from pipeline.handoff import Segment

_DERIVED = {"source", "created_date", "segment"}
_RUN_KEYS = [name for name in schema.RUNS.columns.names if name not in _DERIVED]
_TIMES = [name for name in _RUN_KEYS if schema.RUNS.columns.field(name).type == schema.TIMESTAMP]
_DATED = range(DATED.start * 1_000_000, DATED.stop * 1_000_000)


def runs(segment: Segment, rows: pa.Table) -> pa.Table:
    """Make one row per run; ``findings`` is an array in the archive and its text in the table."""
    bodies = _bodies(rows)
    columns = {name: [body.get(name) for body in bodies] for name in _RUN_KEYS}
    for name in _TIMES:  # versions up to 2026-12-01 wrote what a server sent as ``created``, whatever it was
        columns[name] = [time if time is not None and time in _DATED else None for time in columns[name]]
    started = pa.array(columns["started_at"], schema.TIMESTAMP)
    findings = [msgspec.json.encode(value) for value in columns["findings"]]
    where = origin(segment.source, segment.number, len(rows))
    return table("runs", {**columns, **where, "findings": findings, "created_date": dates(started)})


def coverage(segment: Segment, rows: pa.Table) -> pa.Table:
    """Make one row per span that was read."""
    bodies = _bodies(rows)
    asked = timestamps(pa.array([body["asked_at"] for body in bodies], pa.int64()))
    return table(
        "coverage",
        {
            **origin(segment.source, segment.number, len(rows)),
            "start_unix": [body["start"] for body in bodies],
            "end_unix": [body["end"] for body in bodies],
            "asked_at": asked,
            "created_date": dates(asked),
            "possibly_incomplete": [body["possibly_incomplete"] for body in bodies],
            "sweep": [sweep["number"] if (sweep := body.get("sweep")) else None for body in bodies],
        },
    )


def _bodies(rows: pa.Table) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body, type=dict[str, Any]) for body in rows["body"].to_pylist()]
