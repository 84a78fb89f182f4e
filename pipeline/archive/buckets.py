"""What an organization used and was billed, day by day, as received: segments of their own in a source's archive.

A day that is fetched again is another row: the newest one counts. ``null`` stands for a day that a complete answer did
not show: there was nothing on it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline import schema
from pipeline.archive.segments import ORGANIZATION, Reading
from pipeline.handoff import Account

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.archive.segments import Archive, Footer
    from pipeline.handoff import Bucket


def fetched(archive: Archive) -> dict[tuple[str, dt.date], dt.datetime]:
    """Return by kind and day when each day that is held was last fetched."""
    found: dict[tuple[str, dt.date], dt.datetime] = {}
    for footer in archive.footers:
        if footer.reading.origin == ORGANIZATION:
            table = archive.columns(footer.number, ["kind", "id", "fetched_at"])
            for kind, day, when in zip(*(column.to_pylist() for column in table.columns), strict=True):
                found[kind, dt.date.fromisoformat(day)] = when
    return found


def keep(archive: Archive, buckets: Iterable[Bucket], now: dt.datetime) -> Footer:
    """Write buckets as the next segment; when this returns they are durable."""
    table = pa.Table.from_pylist([_row(bucket, now) for bucket in buckets], schema=schema.SEGMENT)
    return archive.append(table, Reading("", Account(), origin=ORGANIZATION))


def _row(bucket: Bucket, now: dt.datetime) -> dict[str, object]:
    return {
        "kind": bucket.kind,
        "id": bucket.day.isoformat(),
        "created": int(dt.datetime.combine(bucket.day, dt.time(), dt.UTC).timestamp()),
        "fetched_at": now,
        "first_seen": now,
        "is_version": False,
        "content_hash": hashlib.sha256(bucket.body).digest(),
        "has_messages": False,
        "blobs": [],
        "body": bucket.body,
    }
