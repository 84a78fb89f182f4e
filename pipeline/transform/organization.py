"""The tables of what an organization used and was billed, from the days as received."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from pipeline import schema
from pipeline.transform.columns import dates, table, timestamps
from pipeline.transform.tables import origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.handoff import Segment

#: Amounts are decimals from the first: a float would change the last digits of a bill.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_INT64 = range(-(2**63), 2**63)
#: Larger ones fit no column; the world's product is 14 digits.
_MOST = Decimal(10) ** 20
_PLACES = Decimal(10) ** -15
_EXACT = Context(prec=38)


def usage(segment: Segment, rows: pa.Table) -> pa.Table:
    """Make one row per result of a day, and one for a day without any."""
    return _rows("organization_usage", segment, rows, lambda result: result)


def costs(segment: Segment, rows: pa.Table) -> pa.Table:
    """Make one row per line item of a day, and one for a day without any."""
    return _rows("organization_costs", segment, rows, _with_amount)


def _with_amount(result: dict[str, Any]) -> dict[str, Any]:
    """Take an amount apart where it is as documented."""
    amount = result.get("amount")
    if not isinstance(amount, dict) or not amount.keys() <= {"value", "currency"}:
        return result
    rest = {key: value for key, value in result.items() if key != "amount"}
    return {**rest, "amount": amount.get("value"), "currency": amount.get("currency")}


def _rows(name: str, segment: Segment, rows: pa.Table, shaped: Callable[[dict[str, Any]], dict[str, Any]]) -> pa.Table:
    found = [
        (place, index, shaped(result))
        for place, body in enumerate(rows["body"].to_pylist())
        for index, result in _results(body)
    ]
    places = pa.array([place for place, *_ in found], pa.int64())
    created = timestamps(rows["created"].combine_chunks()).take(places)
    read = [_read(name, result) for *_, result in found]
    told = {column: [values.get(column) for values in read] for column in (*_COLUMNS[name], "extra")}
    return table(
        name,
        {
            **origin(segment.source, segment.number, len(found)),
            "created": created,
            "created_date": dates(created),
            "index": [index for _, index, _ in found],
            **told,
            "fetched_at": rows["fetched_at"].combine_chunks().take(places),
        },
    )


def _results(body: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Yield what a day holds, each with its position; one that is no object is kept whole, in ``extra``."""
    bucket = _DECODER.decode(body)
    results = bucket["results"] if bucket else []
    if not results:
        yield None, {}
    for index, result in enumerate(results):
        yield index, result if isinstance(result, dict) else {"result": result}


def _read(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that fit their columns; all others, unknown keys too, are in ``extra``."""
    columns, values, rest = _COLUMNS[name], {}, {}
    for key, value in result.items():
        if key == "object" or value is None:
            continue
        fits = _READERS[columns[key]](value) if key in columns else None
        if fits is None:
            rest[key] = value
        else:
            values[key] = fits
    return {**values, "extra": _ENCODER.encode(rest) if rest else None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None


def _decimal(value: Any) -> Decimal | None:
    """Read an amount; the API writes some as text."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        amount = Decimal(value)
        return amount.quantize(_PLACES, context=_EXACT) if amount.is_finite() and abs(amount) < _MOST else None
    except InvalidOperation:
        return None


_READERS: dict[pa.DataType, Callable[[Any], Any]] = {
    schema.TEXT: _text,
    schema.INTEGER: _integer,
    schema.DECIMAL: _decimal,
    pa.bool_(): _switch,
}
_OURS = {"source", "created", "created_date", "index", "extra", "fetched_at", "segment"}
#: By table: the columns that have the API's own names, and their types.
_COLUMNS = {
    name: {field.name: field.type for field in schema.TABLES[name].columns if field.name not in _OURS}
    for name in ("organization_usage", "organization_costs")
}
