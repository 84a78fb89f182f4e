"""Days of usage and costs become rows: every value in its column or in extra, amounts exact, no day without a row."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from pipeline.archive.buckets import _row
from pipeline.extract.buckets import decode_days
from pipeline.extract.page import BadPageError
from pipeline.handoff import Bucket, Segment
from pipeline.schema import SEGMENT
from pipeline.transform.flatten import flatten

DAY = dt.date(2026, 11, 19)
START = 1_795_046_400
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def rows(kind, *bodies):
    """Flatten days, each a bucket's results, or a body."""
    texts = [
        body if isinstance(body, bytes) else json.dumps({"start_time": START, "results": body}).encode()
        for body in bodies
    ]
    table = pa.Table.from_pylist([_row(Bucket(kind, DAY, text), NOW) for text in texts], schema=SEGMENT)
    batch = flatten(Segment("prod", 7, table))
    return batch.tables["organization_usage" if kind == "usage" else "organization_costs"].to_pylist()


def test_usage_is_a_row_per_result():
    """Counters and keys are columns of the API's names; what is null is NULL, and what is not told is not 0."""
    one, other = rows("usage", [{"model": "m", "batch": False, "input_tokens": 5, "input_cached_tokens": None}, {}])
    assert (one["model"], one["batch"], one["input_tokens"], one["input_cached_tokens"]) == ("m", False, 5, None)
    assert (one["source"], one["segment"], one["created_date"], one["index"]) == ("prod", 7, DAY, 0)
    assert (one["fetched_at"], one["output_tokens"], one["extra"]) == (NOW, None, None)
    assert (other["index"], other["model"]) == (1, None)


@pytest.mark.parametrize("nothing", [[], b"null"])
@pytest.mark.parametrize("kind", ["usage", "costs"])
def test_a_day_on_which_there_was_nothing_has_a_row(kind, nothing):
    """It says that the day was asked for, and replaces what was held of it."""
    (row,) = rows(kind, nothing)
    assert (row["index"], row["created_date"], row["project_id"]) == (None, DAY, None)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.13080438340307526123", Decimal("0.130804383403075")),
        ('"0E-6176"', Decimal(0)),
        ("1.5e-9", Decimal("0.000000001500000")),
        ('"12.5"', Decimal("12.5")),
        ("-3", Decimal(-3)),
        ("123456789012345678.5", Decimal("123456789012345678.5")),
    ],
)
def test_amounts_are_exact(value, amount):
    """A number or a text is the decimal that it says, to 15 places; never a float."""
    body = b'{"results":[{"amount":{"value":%b,"currency":"usd"},"line_item":"x"}]}' % value.encode()
    (row,) = rows("costs", body)
    assert (row["amount"], row["currency"], row["line_item"], row["extra"]) == (amount, "usd", "x", None)


def test_what_fits_no_column_is_kept():
    """Unknown keys, values of other types, and results that are no objects are in extra, digit for digit."""
    told = b'{"input_tokens":1.50,"batch":"no","new":{"a":0.10},"model":"m"}'
    odd = b'{"results":[%b,[1],{"input_tokens":9223372036854775808}]}' % told
    first, second, third = rows("usage", odd)
    assert (first["model"], first["input_tokens"], first["batch"]) == ("m", None, None)
    assert first["extra"] == '{"input_tokens":1.50,"batch":"no","new":{"a":0.10}}'
    assert second["extra"] == '{"result":[1]}'
    assert third["extra"] == '{"input_tokens":9223372036854775808}'
    for value in ('"much"', "1e30", "true", '"NaN"'):
        (row,) = rows("costs", b'{"results":[{"amount":{"value":%b},"other":1}]}' % value.encode())
        assert row["amount"] is None
        assert "amount" in row["extra"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"data":[]}',
        b'{"has_more":false,"data":[{"start_time":1,"end_time":86401,"results":[]}]}',
        b'{"has_more":false,"data":[{"start_time":0,"end_time":172800,"results":[]}]}',
        b'{"has_more":false,"data":[{"start_time":8640000000000000,"end_time":8640000000086400,"results":[]}]}',
        b'{"has_more":false,"data":[{"start_time":0,"end_time":86400}]}',
    ],
)
def test_what_is_no_page_of_days_is_refused(body):
    """A page whose buckets are not UTC days would be counted on the wrong ones."""
    with pytest.raises(BadPageError):
        decode_days(body)


def test_days_are_kept_byte_for_byte():
    """What was received is what is stored, spaces too."""
    bucket = b'{ "start_time":0, "end_time":86400, "results":[ ] }'
    page = decode_days(b'{"data":[%b],"has_more":true,"next_page":"p"}' % bucket)
    assert page.bodies == ((dt.date(1970, 1, 1), bucket),)
    assert (page.next_page, page.claims_more) == ("p", True)
    assert decode_days(b'{"data":[],"has_more":false,"next_page":"p"}').next_page is None
