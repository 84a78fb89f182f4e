"""What holds for any bytes that a server may send as a page, checked against Python's own reading of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline import schema
from pipeline.extract.page import BadPageError, decode
from pipeline.transform import flatten
from tests.transform.segments import row, segment
from tests.transform.test_any_json import texts

if TYPE_CHECKING:
    from pipeline.handoff import Batch, Page

INT64 = range(-(2**63), 2**63)
COUNTERS = ("prompt_tokens", "completion_tokens", "total_tokens")


def check(body: bytes) -> Page | None:
    """Read a page and flatten it; AssertionError names the promise that was broken, anything else is a crash."""
    told = understood(body)
    rows_told = told.get("data") if isinstance(told, dict) else None
    try:
        page = decode(body, server_time=0)
    except BadPageError:
        assert not isinstance(rows_told, list), "a page in JSON was refused"
        return None
    _check_rows(page, body)
    if isinstance(rows_told, list):
        _check_against(page, rows_told)
    check_batch(flatten(segment(*(row(one.body, id_=one.id, created=one.created) for one in page.rows))), page)
    return page


def understood(body: bytes) -> Any:
    """Read JSON as Python does; None where it does not."""
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        return None


def _check_rows(page: Page, body: bytes) -> None:
    at = 0
    for one in page.rows:
        at = body.find(one.body, at)
        assert at >= 0, "a row is not as it was sent"
        at += len(one.body)
        assert one.id.encode(), "an id is empty"
        assert one.created is None or one.created in INT64, "created does not fit"


def _check_against(page: Page, rows_told: list[Any]) -> None:
    assert len(page.rows) == len(rows_told), "a row is lost or split"
    for one, told in zip(page.rows, rows_told, strict=True):
        assert repr(understood(one.body)) == repr(told), "a row is another one"
        if isinstance(told, dict):
            if is_text(told.get("id")):
                assert one.id == told["id"], "the id is another one"
            if is_integer(told.get("created")):
                assert one.created == told["created"], "created is another one"


def check_batch(batch: Batch, page: Page) -> None:
    """Check the tables of a page: one row per id, sound, readable, and with every count that could be read."""
    for name, table in batch.tables.items():
        assert table.schema.equals(schema.TABLES[name].columns), f"{name} is not as declared"
        table.validate(full=True)
        assert all(field.nullable or not table[field.name].null_count for field in table.schema), f"NULL in {name}"
    for text in texts(batch):
        msgspec.json.decode(text)
    latest = {one.id: one.body for one in page.rows}
    found = batch.tables["completions"].to_pylist()
    assert sorted(told["id"] for told in found) == sorted(latest), "not one row per id"
    for told in found:
        for name, count in counts(latest[told["id"]]).items():
            assert told[name] == count, f"{name} is hidden"


def counts(body: bytes) -> dict[str, int]:
    """Return the counters of a row's usage that are counts."""
    told = understood(body)
    usage = told.get("usage") if isinstance(told, dict) else None
    if not isinstance(usage, dict):
        return {}
    return {name: usage[name] for name in COUNTERS if is_integer(usage.get(name))}


def is_integer(value: object) -> bool:
    """Tell whether a value is a whole number of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and value in INT64


def is_text(value: object) -> bool:
    """Tell whether a value is a text of Unicode that is not empty."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False
