"""The statements that make the warehouse: tables from the Arrow schemas with their sentences, and views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.cost.views import views
from pipeline.load.views import VIEWS
from pipeline.schema import DECIMAL, INTEGER, MAP, NUMBER, TABLES, TEXT, TIMESTAMP, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.cost.settings import Cost

#: A column of another type needs a line here: a KeyError says which.
KINDS = {
    TEXT: "VARCHAR",
    INTEGER: "BIGINT",
    NUMBER: "DOUBLE",
    TIMESTAMP: "TIMESTAMPTZ",
    MAP: "MAP(VARCHAR, VARCHAR)",
    DECIMAL: "DECIMAL(38, 15)",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.list_(INTEGER): "BIGINT[]",
}
#: Columns of prose: what DuckDB would choose by itself takes them twice the time, and eight times the space.
LONG = frozenset({"content", "content_parts", "arguments"})


def table_statements(layout: str) -> Iterator[str]:
    """Make every table; without a primary key, whose index each night would rewrite."""
    for table in TABLES.values():
        yield f"CREATE TABLE {table.name} ({', '.join(_column(field) for field in table.columns)})"
        yield f"COMMENT ON TABLE {table.name} IS {quoted(table.description)}"
        for field in table.columns:
            yield f'COMMENT ON COLUMN {table.name}."{field.name}" IS {quoted(describe(field))}'
    yield "CREATE TABLE bookmarks (source VARCHAR NOT NULL, segment BIGINT NOT NULL)"
    yield f"COMMENT ON TABLE bookmarks IS {quoted(layout_comment(layout))}"


def view_statements(cost: Cost) -> Iterator[str]:
    """Make every view, in place of the one that an older version of this program, or other settings, made."""
    for name, (description, query) in {**VIEWS, **views(cost)}.items():
        yield f"CREATE OR REPLACE VIEW {name} AS {query}"
        yield f"COMMENT ON VIEW {name} IS {quoted(description)}"


def layout_comment(layout: str) -> str:
    """Say in the file itself of which layout its tables are: one of another layout is made anew."""
    return f"The last archive segment held, by source. Layout {layout}."


def quoted(text: str) -> str:
    """Write text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _column(field: pa.Field) -> str:
    how = " USING COMPRESSION zstd" if field.name in LONG else ""
    return f'"{field.name}" {KINDS[field.type]}{how}{"" if field.nullable else " NOT NULL"}'
