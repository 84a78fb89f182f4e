"""Writes a month as a FOCUS file from the published snapshot: rows as CSV, or Parquet, and what to know about them.

A text in CSV that a spreadsheet would run as a formula gets a ' in front, which spreadsheets do not show; Parquet holds
it as it is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import assemble, console, costs, files
from pipeline.cost import focus
from pipeline.cost.pricing import grouped
from pipeline.cost.views import TOTALS
from pipeline.errors import FolderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.config import Config
    from pipeline.cost.period import Period
    from pipeline.load.reading import Answer

#: Rows in memory at a time.
_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the reader of a month's file must know, and the file cannot say."""

    unpriced_requests: int
    unpriced_tokens: int
    behind: tuple[str, ...]
    """Sources whose data do not reach the end of the month."""
    unknown: tuple[str, ...]
    """Sources with data that the settings do not hold."""

    @property
    def lines(self) -> Iterator[str]:
        """Say each in a sentence."""
        if self.unpriced_requests:
            yield (
                f"{self.unpriced_requests:,} requests with {self.unpriced_tokens:,} tokens have no price: their costs "
                "are 0 in the file, since FOCUS allows no other; x_CostBasis says why"
            )
        for source in self.behind:
            yield f"{source}: the data do not reach the end of the month yet"
        for source in self.unknown:
            yield f"{source} is not in the settings: who provides it is told as Unknown"


@contextlib.contextmanager
def rows(config: Config, period: Period, price_set: str | None = None) -> Iterator[Answer]:
    """Answer with a month's rows; raises FolderError where nothing was published, or by an older program."""
    if price_set is not None:
        with assemble.asking(config) as ask:
            costs.known(ask, price_set)
    accounts = [focus.account(one.name, one.base_url, one.organization, one.project) for one in config.sources]
    with _asked(config, focus.statement(period, accounts, config.cost, price_set)) as answer:
        yield answer


def remarks(config: Config, period: Period, price_set: str | None = None) -> Remarks:
    """Look for what must be told beside a month's rows."""
    with _asked(config, _unpriced(config, period, price_set)) as answer:
        ((requests, tokens),) = answer.rows
    with _asked(config, _BEHIND.format(end=period.until)) as answer:
        behind = tuple(name for (name,) in answer.rows)
    with _asked(config, _SOURCES.format(condition=period.condition())) as answer:
        known = {one.name for one in config.sources}
        unknown = tuple(name for (name,) in answer.rows if name not in known)
    return Remarks(requests, tokens, behind, unknown)


def texts(answer: Answer) -> Iterator[list[str]]:
    """Write rows for CSV: numbers without an exponent, moments in UTC, nothing for null, and no formula."""
    return ([_text(value) for value in row] for row in answer.rows)


def write_csv(answer: Answer, out: Path) -> None:
    """Write rows as one CSV file, whole or not at all."""
    with files.writing_out(out) as temp, temp.open("w", encoding="utf-8", newline="") as file:
        console.write_csv(file, answer.columns, texts(answer))


def write_parquet(answer: Answer, out: Path) -> None:
    """Write rows as one Parquet file, whole or not at all; costs are decimals."""
    schema = focus.schema()
    with files.writing_out(out) as temp, pq.ParquetWriter(temp, schema) as writer:
        for some in iter(lambda: list(islice(answer.rows, _ROWS)), []):
            columns = zip(*some, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))


@contextlib.contextmanager
def _asked(config: Config, sql: str) -> Iterator[Answer]:
    """Ask the snapshot; what it cannot answer of our own questions was made by an older program."""
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(assemble.query_snapshot(config.data, sql, cost=config.cost))
        except UsageError as error:
            raise FolderError(
                f"the snapshot cannot answer: {str(error).splitlines()[0]}", hint="`pipeline run` publishes a new one"
            ) from error
        yield answer


def _unpriced(config: Config, period: Period, price_set: str | None) -> str:
    priced = grouped(config.cost, {}, where=period.condition(), price_set=price_set)
    return f"SELECT {TOTALS['unpriced_requests']}, {TOTALS['unpriced_tokens']} FROM ({priced})"


_BEHIND = """
    SELECT source FROM freshness
    WHERE data_through IS NULL OR data_through < TIMESTAMPTZ '{end} 00:00:00+00' ORDER BY source
"""
_SOURCES = "SELECT DISTINCT source FROM completions WHERE {condition} ORDER BY source"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    text = str(value)
    return console.no_formula(text) if isinstance(value, str) else text


def _number(value: Decimal) -> str:
    """Write a decimal without an exponent, and without zeros that say nothing; one keeps it a decimal to readers."""
    whole, point, places = f"{value:f}".partition(".")
    return f"{whole}{point}{places.rstrip('0') or (point and '0')}"
