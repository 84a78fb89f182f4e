"""Segments as the archive gives them, from bodies."""

import hashlib
from datetime import UTC, datetime

import pyarrow as pa

from pipeline import jsontext, schema
from pipeline.handoff import Segment

FETCHED = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
SOURCE = "prod"


def row(  # noqa: PLR0913 - the columns of a row
    body, *, kind="completion", id_=None, created=None, replaces=None, fetched=FETCHED
):
    """Make one row of a segment; ``replaces`` is a 1-tuple of the earlier version's created."""
    digest = hashlib.sha256(body).digest()
    return {
        "kind": kind,
        "id": id_ if id_ is not None else f"no-id:{digest.hex()}",
        "created": created,
        "fetched_at": fetched,
        "first_seen": FETCHED,
        "is_version": replaces is not None,
        "previous_created": replaces[0] if replaces else None,
        "content_hash": digest,
        "has_messages": b'"input_messages"' in body,
        "blobs": [],
        "body": body,
    }


def segment(*rows, number=7):
    """Make a segment of rows; bytes are bodies of completions c0, c1 and so on, created in second 1738960610."""
    made = [
        row(item, id_=f"c{place}", created=1738960610) if isinstance(item, bytes) else item
        for place, item in enumerate(rows)
    ]
    return Segment(SOURCE, number, pa.Table.from_pylist(made, schema.SEGMENT))


def page_rows(page):
    """Split a page as received into rows of a segment."""
    data = dict(jsontext.members(page))[b'"data"']
    return [_received(body) for body in jsontext.elements(data)]


def _received(body):
    members = dict(jsontext.members(body))
    return row(body, id_=jsontext.text(members[b'"id"']), created=int(members[b'"created"']))
