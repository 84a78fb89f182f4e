"""How the snapshot is read: from notebooks, and by SQL that may touch nothing else."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import FolderError, RefusedError, UsageError
from pipeline.load.duckdb import explained, is_one_select, read_only, told_to_the_user
from pipeline.load.tables import quoted
from pipeline.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

#: No values.
NONE: Mapping[str, str | int | None] = MappingProxyType({})
#: Rows in memory at a time.
_ROWS = 1000
#: The same as Arrow: DuckDB hands out multiples of what it works on at once.
ARROW_ROWS = 2048
#: What DuckDB may keep of the file meanwhile: by default it would be most of the machine's memory. The texts of so many
#: rows must fit in, and a part of it is lent in powers of two.
ARROW_MEMORY = "1100MB"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query returns."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]
    """Read as they are asked for."""


def connect(snapshot: Path) -> DuckDBPyConnection:
    """Open the snapshot as it is now, read-only; the next one is seen by connecting again, also in one process."""
    try:
        is_there = snapshot.exists()
    except PermissionError as error:
        raise RefusedError(
            f"not allowed to read {snapshot}",
            hint='ask its owner for share = "group" in the settings, and to be in that group',
        ) from error
    if not is_there:
        raise FolderError(f"nothing was published at {snapshot} yet", hint="run `pipeline run` first")
    return read_only(snapshot)


@contextlib.contextmanager
def asking(snapshot: Path, *, prices: pa.Table | None = None) -> Iterator[Callable[[str], Answer]]:
    """Answer several questions of ours on one and the same snapshot; each is read to its end before the next is asked.

    ``prices`` stand for those that were published with it, in its views too. Raises
    FolderError where it lacks what is asked for: an older program published it.
    """
    with _confined(snapshot, prices) as connection:

        def ask(sql: str) -> Answer:
            try:
                with told_to_the_user():
                    connection.execute(sql)
            except UsageError as error:
                raise FolderError(
                    f"the snapshot cannot answer: {str(error).splitlines()[0]}",
                    hint="`pipeline run` publishes a new one",
                ) from error
            columns = tuple(column[0] for column in connection.description or ())
            return Answer(columns, iter(connection.fetchall()))

        yield ask


@contextlib.contextmanager
def _confined(snapshot: Path, prices: pa.Table | None) -> Iterator[DuckDBPyConnection]:
    """Open the snapshot so that no other file can be read or written, for good.

    DuckDB leaves its temp folder open all the same, by default ``.tmp`` where we were started: it gets one of its own.
    """
    with TemporaryDirectory(prefix="pipeline-") as spilled, contextlib.closing(connect(snapshot)) as connection:
        connection.execute(f"SET temp_directory = {quoted(spilled)}")
        if prices is not None:
            connection.register("prices_now", prices)
            connection.execute("CREATE TEMP TABLE prices AS FROM prices_now")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


@contextlib.contextmanager
def query(
    snapshot: Path, sql: str, values: Mapping[str, str | int | None] = NONE, *, prices: pa.Table | None = None
) -> Iterator[Answer]:
    """Answer one SELECT on the snapshot that can neither read nor write any other file; UsageError says what is wrong.

    ``values`` are parameters of it by name: they are compared, and never run. ``prices`` are as in ``asking``.

    Other statements could take the snapshot off, put it on again to be written, or write beside it.
    """
    with _confined(snapshot, prices) as connection, told_to_the_user():
        if not sql.strip():
            raise UsageError("the SQL is empty", hint="such as 'SELECT * FROM usage_by_model'")
        if not is_one_select(connection, sql):
            pivots = "pivot" in sql.casefold()
            hint = "a PIVOT names its values: PIVOT … ON … IN (…)" if pivots else "the snapshot is read, never written"
            raise UsageError("only one SELECT is answered", hint=hint)
        connection.execute(sql, dict(values))
        columns = tuple(column[0] for column in connection.description or ())
        yield Answer(columns, chain.from_iterable(iter(lambda: connection.fetchmany(_ROWS), [])))


def arrow(snapshot: Path, name: str, since: datetime | None, until: datetime | None) -> Iterator[pa.Table]:
    """Read a table's rows with since <= created < until, part by part, from the snapshot as it is at the call.

    Raises UsageError for a table without ``created`` or a time without a zone, FolderError where the snapshot has no
    such table, TryAgainError where the texts of ``ARROW_ROWS`` rows do not fit into ``ARROW_MEMORY``.
    """
    having = [table.name for table in TABLES.values() if "created" in table.columns.names]
    if name not in having:
        raise UsageError(f"{name} is no table with a column created", hint=f"there are: {', '.join(having)}")
    if any(bound is not None and bound.tzinfo is None for bound in (since, until)):
        raise UsageError("since and until need a time zone", hint="such as datetime(2026, 11, 1, tzinfo=UTC)")
    schema = TABLES[name].columns
    bounds = [(">=", since), ("<", until)]
    where = [f"created {sign} TIMESTAMPTZ '{bound.astimezone(UTC).isoformat()}'" for sign, bound in bounds if bound]
    connection = connect(snapshot)
    try:
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '{ARROW_MEMORY}'")
        with told_to_the_user():
            rows = connection.sql(f"SELECT {', '.join(schema.names)} FROM {name} WHERE {' AND '.join(where) or 'true'}")
    except UsageError as error:
        connection.close()
        raise FolderError(
            f"the snapshot cannot hand out {name}: {str(error).splitlines()[0]}",
            hint="an older program published it; `pipeline run` publishes a new one",
        ) from error
    return _parts(connection, rows, schema, snapshot)


def _parts(
    connection: DuckDBPyConnection, rows: DuckDBPyRelation, schema: pa.Schema, snapshot: Path
) -> Iterator[pa.Table]:
    """Hand out rows in our own types, and let go of the snapshot after the last."""
    with contextlib.closing(connection), explained(snapshot):
        for batch in rows.to_arrow_reader(ARROW_ROWS):
            yield pa.Table.from_batches([batch]).cast(schema)


@contextlib.contextmanager
def json_column(file: Path, table: str, column: str | None) -> Iterator[Iterator[bytes]]:
    """Read a text column of a table, row by row, read-only; UsageError says which tables and columns there are."""
    with contextlib.closing(read_only(file)) as connection, told_to_the_user():
        known = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
        texts = connection.execute(f"{known} AND data_type IN ('VARCHAR', 'JSON', 'BLOB')").fetchall()
        columns = [name for owner, name in texts if owner == table]
        wanted = [column] if column else columns
        if len(wanted) != 1 or wanted[0] not in columns:
            there = ", ".join(f"{owner}.{name}" for owner, name in texts) or "none"
            raise UsageError(f"{file}: which column of {table} holds the JSON?", hint=f"columns of text: {there}")
        connection.execute(f"SELECT {_quoted(wanted[0])} FROM {_quoted(table)}")
        rows = chain.from_iterable(iter(lambda: connection.fetchmany(_ROWS), []))
        yield (text.encode() if isinstance(text, str) else text or b"" for (text,) in rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
