"""Archives filled as an export fills them: rows taken a page at a time, cut into segments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.archive.blobs import Blobs
from pipeline.archive.intake import Intake
from pipeline.archive.segments import Archive, Reading
from pipeline.handoff import Account, Page, Row

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.archive.intake import Counts
    from pipeline.handoff import Span

NOW = 1_758_000_000
BIG = 2**30


def archive_in(folder: Path) -> Archive:
    """Open the archive of the source ``prod`` as it lies there."""
    return Archive(folder / "archive", "prod", scratch=folder / "scratch")


def blobs_of(archive: Archive) -> Blobs:
    """Open the blobs beside an archive."""
    folder = archive.path(1).parent.parent.parent
    return Blobs(folder / "blobs", folder / "scratch")


def intake_of(archive: Archive, position: int | None = None, **options: Any) -> Intake:
    """Begin to keep what one run receives."""
    return Intake(archive, position, **{"segment_size": BIG, "blobs": blobs_of(archive)} | options)


def row(id_: str, created: int | None = NOW, **fields: object) -> Row:
    """Make a row as received."""
    return Row(id_, created, json.dumps({"id": id_, "created": created, **fields}).encode())


def page(*rows: Row, server_time: int = NOW) -> Page:
    """Make the last page of a list."""
    return Page(rows, False, server_time)


def reading(*spans: Span, fingerprint: str = "f", account: Account | None = None) -> Reading:
    """Say what was covered, under one fingerprint."""
    return Reading(fingerprint, account or Account(), spans)


def receive(intake: Intake, *rows: Row, from_newest: bool = False) -> frozenset[str]:
    """Let an intake take one page; returns what was known of it."""
    one = page(*rows)
    known = intake.known(one)
    intake.take(one, from_newest=from_newest)
    return known


def keep(archive: Archive, *rows: Row, position: int | None = None) -> Counts:
    """Take one page and write it as a segment."""
    intake = intake_of(archive, position)
    receive(intake, *rows)
    intake.cut(reading())
    return intake.counts


def bodies(archive: Archive) -> list[tuple[str, bytes]]:
    """Return every version kept, in order."""
    tables = [segment.table for segment in archive.after(0)]
    rows = [one for table in tables for one in table.to_pylist() if one["kind"] == "completion"]
    return [(one["id"], one["body"]) for one in rows]
