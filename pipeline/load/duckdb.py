"""The one door of DuckDB, and the destination behind it: the writer's private file.

Rows and bookmark are stored in one transaction. Nobody but the run opens this file: readers get the snapshot.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, TypeVar

import duckdb
import pyarrow as pa

from pipeline.cost import table as prices
from pipeline.cost.settings import Cost
from pipeline.errors import FolderError, PipelineError, TryAgainError, UsageError
from pipeline.failpoints import reach
from pipeline.files import FILE_MODE, make_folder
from pipeline.load.change import work_out
from pipeline.load.meanings import DamagedError, meaning
from pipeline.load.tables import layout_comment, quoted, table_statements, view_statements
from pipeline.load.update import KEYS
from pipeline.schema import TABLES, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from pipeline.handoff import Batch
    from pipeline.load.change import Change
    from pipeline.schema import Table

T = TypeVar("T")
_Setting = str | bool | int | float | list[str]
#: DuckDB 1.4, 1.5 and 2 open such files; each of them would otherwise choose its own newest.
STORAGE_VERSION = "v1.4.0"
_READER: dict[str, _Setting] = {"autoinstall_known_extensions": "false"}
#: More threads gain nothing here, and take more memory, as do more row groups that wait to be written. What a
#: transaction brings goes into the file at once: the log would only be a second copy of it.
_WRITER: dict[str, _Setting] = {
    **_READER,
    "threads": "1",
    "checkpoint_threshold": "1MB",
    "write_buffer_row_group_count": "1",
}
#: Bytes for a load beside the texts that DuckDB holds in its hands at once, twice: where they do not fit it gives up;
#: everything else it spills. They are those of a vector of rows.
_MEMORY, _VECTOR = 100_000_000, 2_048
#: Bytes for whoever reads all that there is.
_READING = 512_000_000
#: Rows of a row group, a quarter of DuckDB's own: one that is full leaves memory for the file although the transaction
#: is still open, and one that is not is written again by the next load.
_ROW_GROUP = 30_720
#: Errors of the machine rather than of our SQL; DuckDB 2 also raises the bare base class for a damaged file.
_OF_THE_MACHINE = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
)


class DuckDBDestination:
    """The writer's DuckDB file; of another layout or damaged, it is made anew and catches up from the archive."""

    name = "duckdb"

    def __init__(self, path: Path, *, logprobs: bool = False, cost: Cost | None = None) -> None:
        self._path = path
        self._connection, self._is_new = _open(path, digest(logprobs=logprobs), cost or Cost())
        self._is_unsettled = False
        self._memory = 0
        ((self._usual_memory,),) = self._connection.execute("SELECT current_setting('memory_limit')").fetchall()

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment held by source."""
        with self._door():
            return dict(self._connection.execute("SELECT source, segment FROM bookmarks").fetchall())

    def load(self, batches: Sequence[Batch], *, settle: bool = True) -> None:
        """Store batches of one source and the bookmark in one transaction; unsettled, it stays open for the next load.

        A row group that is committed before it is full is written again: long transactions write each but once.
        """
        held = self.bookmarks().get(batches[0].bookmark.source, 0) if batches else 0
        if change := work_out(batches, held):
            with self._door(), self._undone_on_error():
                self._bound_memory(change.rows.values())
                if not self._is_unsettled:
                    self._connection.begin()
                    self._is_unsettled = True
                _store(self._connection, change)
        if settle:
            self.settle()

    def settle(self) -> None:
        """Commit what was loaded."""
        if not self._is_unsettled:
            return
        with self._door(), self._undone_on_error():
            self._unbind_memory()
            self._connection.commit()
            self._is_unsettled = False
        reach("duckdb.committed")

    def close(self) -> None:
        """Write everything settled into the file itself and let go of it."""
        with explained(self._path):
            self._connection.close()

    def _bound_memory(self, tables: Iterable[pa.Table]) -> None:
        """Let a load take little memory, as far as the longest texts allow."""
        held = (rows.nbytes * _VECTOR // min(rows.num_rows, _VECTOR) for rows in tables if rows.num_rows)
        if (needed := _MEMORY + 2 * max(held, default=0)) > self._memory:
            self._connection.execute(f"SET memory_limit = '{needed}B'")
            self._memory = needed

    def _unbind_memory(self) -> None:
        """Let a commit take what it needs to write rows anew that were held before: nobody knows how long those are."""
        if not self._is_new:
            # DuckDB 1.5 says that it has RESET it, and goes by the former one.
            self._connection.execute(f"SET memory_limit = '{self._usual_memory}'")
            self._memory = 0

    @contextlib.contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Take back everything unsettled where the block fails."""
        try:
            yield
        except BaseException:
            self._is_unsettled = False
            _roll_back(self._connection)
            raise

    @contextlib.contextmanager
    def _door(self) -> Iterator[None]:
        """Explain errors; a file found damaged goes, so that the next run finds none and rebuilds it."""
        try:
            with explained(self._path):
                yield
        except DamagedError:
            self._connection.close()
            _discard(self._path)
            raise


@contextlib.contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Translate what DuckDB says about ``path`` into an error that says what to do; a bug stays what it is."""
    try:
        yield
    except duckdb.Error as error:
        ours = _translate(error, path)
        if ours is None:
            raise
        raise ours from error


def _translate(error: duckdb.Error, path: Path | str) -> PipelineError | None:
    if not isinstance(error, _OF_THE_MACHINE) and type(error) is not duckdb.Error:
        return None
    again = TryAgainError(f"DuckDB gave up on {path}: {error}", hint="run again; what was committed is intact")
    return meaning(str(error), path) or again


@contextlib.contextmanager
def damage_told(path: Path | str) -> Iterator[None]:
    """Say of a file that lacks tables or columns which it should hold that it is damaged."""
    try:
        with explained(path):
            yield
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ConversionException) as error:
        raise FolderError(f"{path} lacks what it should hold: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def told_to_the_user() -> Iterator[None]:
    """Hand on what DuckDB says about the user's own SQL."""
    try:
        yield
    except duckdb.Error as error:
        raise UsageError(str(error)) from error


def read_only(path: Path) -> DuckDBPyConnection:
    """Open a file as it is now, although this process may still hold the one that it replaced.

    A second ``duckdb.connect(path)`` in a process would get the instance of the first one, and with it the old rows.
    """
    connection = duckdb.connect(":memory:", config=_READER)
    try:
        with explained(path):
            connection.execute(f"ATTACH {quoted(str(path))} AS warehouse (READ_ONLY)")
            connection.execute("USE warehouse")
            connection.execute("SET TimeZone = 'UTC'")
    except BaseException:
        connection.close()
        raise
    return connection


def in_little_memory(connection: DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do what reads much in little memory; where the texts of a vector do not fit, again in all that DuckDB takes."""
    ((usual,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    try:
        connection.execute(f"SET memory_limit = '{_READING}B'")
        return work()
    except duckdb.OutOfMemoryException:
        connection.execute(f"SET memory_limit = '{usual}'")
        return work()
    finally:
        connection.execute(f"SET memory_limit = '{usual}'")


def is_one_select(connection: DuckDBPyConnection, sql: str) -> bool:
    """Tell whether SQL is one SELECT and nothing else; raises what DuckDB says of SQL that is none."""
    try:
        return [one.type for one in connection.extract_statements(sql)] == [duckdb.StatementType.SELECT]
    except ValueError:  # DuckDB knows more kinds of statements than its Python has names for
        return False


def shown(path: Path) -> object | None:
    """Tell what a reader of the file sees: its layout, bookmarks, views and prices; None where it cannot be read."""
    try:
        with contextlib.closing(read_only(path)) as connection, explained(path):
            return connection.execute(f"SELECT {_LAYOUT}, {_BOOKMARKS}, {_VIEWS}, {_PRICES}").fetchall()
    except (PipelineError, duckdb.CatalogException):
        return None


def held(path: Path) -> dict[str, int]:
    """Tell the last segment by source that a reader of the file sees; nothing where it is not there, or damaged."""
    try:
        with contextlib.closing(read_only(path)) as connection, explained(path):
            return dict(connection.execute("SELECT source, segment FROM bookmarks").fetchall())
    except (PipelineError, duckdb.CatalogException) as error:
        if path.exists() and isinstance(error, TryAgainError) and not isinstance(error, DamagedError):
            raise
        return {}


_PRICES = "(SELECT comment FROM duckdb_tables() WHERE table_name = 'prices' AND database_name = current_database())"
_LAYOUT = "(SELECT comment FROM duckdb_tables() WHERE table_name = 'bookmarks' AND database_name = current_database())"
_BOOKMARKS = "(SELECT list((source, segment) ORDER BY source) FROM bookmarks)"
_VIEWS = "(SELECT list(sql ORDER BY sql) FROM duckdb_views() WHERE database_name = current_database() AND NOT internal)"


def _open(path: Path, layout: str, cost: Cost) -> tuple[DuckDBPyConnection, bool]:
    """Open the writer's file with today's prices and views; make it anew where it is damaged or of another layout.

    Returns whether it is new as well.
    """
    make_folder(path.parent)
    with contextlib.suppress(DamagedError, _OutdatedError), explained(path):
        if path.exists():
            return _prepared(path, layout, cost, is_new=False), False
    _discard(path)
    with explained(path):
        return _prepared(path, layout, cost, is_new=True), True


class _OutdatedError(Exception):
    """The file is of another layout."""


def _prepared(path: Path, layout: str, cost: Cost, *, is_new: bool) -> DuckDBPyConnection:
    """Open the file and make what is not as it should be anew, tables, prices and views: all or nothing.

    Raises _OutdatedError where the tables of a file that is there are of another layout.
    """
    with contextlib.ExitStack() as undo:
        settings = {**_WRITER, "temp_directory": f"{path}.tmp"}
        connection = undo.enter_context(contextlib.closing(duckdb.connect(":memory:", config=settings)))
        version = f"STORAGE_VERSION '{STORAGE_VERSION}', " if is_new else ""
        connection.execute(f"ATTACH {quoted(str(path))} AS warehouse ({version}ROW_GROUP_SIZE {_ROW_GROUP})")
        connection.execute("USE warehouse")
        path.chmod(FILE_MODE)
        with _transaction(connection):
            for statement in table_statements(layout) if is_new else ():
                connection.execute(statement)
            if connection.execute(f"SELECT {_LAYOUT}").fetchall() != [(layout_comment(layout),)]:
                raise _OutdatedError
            # Views are bound when they are made, which a small night would feel; each version writes them in its way.
            wanted = [*prices.statements(), *view_statements(cost)]
            comment = prices.comment(cost, [*wanted, duckdb.__version__])
            if connection.execute(f"SELECT {_PRICES}").fetchall() != [(comment,)]:
                for statement in (*wanted, f"COMMENT ON TABLE {prices.NAME} IS {quoted(comment)}"):
                    connection.execute(statement)
                _execute(connection, f"INSERT INTO {prices.NAME} SELECT * FROM incoming", [], prices.rows(cost))
        undo.pop_all()
    return connection


def _discard(path: Path) -> None:
    """Remove what can be rebuilt from the archive."""
    for file in (path, path.with_name(f"{path.name}.wal")):
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise
    connection.commit()


def _roll_back(connection: DuckDBPyConnection) -> None:
    # After a fatal error even this fails; then the file holds what was committed before, and needs no rollback.
    with contextlib.suppress(duckdb.Error):
        connection.rollback()


def _store(connection: DuckDBPyConnection, change: Change) -> None:
    """Delete, insert and move the bookmark; the caller holds the transaction."""
    source, segment = change.bookmark.source, change.bookmark.segment
    for name, values in change.replaces.items():
        if len(values):
            _delete(connection, TABLES[name], source, change.dates, pa.table({"value": values}))
    for name, updates in change.updates.items():
        _update(connection, TABLES[name], source, updates)
    reach("duckdb.deleted")
    for name, rows in change.rows.items():
        if rows.num_rows:  # a statement costs a millisecond, and most tables are empty
            _execute(connection, f"INSERT INTO {name} BY NAME SELECT * FROM incoming", [], rows)
    reach("duckdb.inserted")
    connection.execute("DELETE FROM bookmarks WHERE source = ?", [source])
    connection.execute("INSERT INTO bookmarks VALUES (?, ?)", [source, segment])


def _delete(
    connection: DuckDBPyConnection, table: Table, source: str, dates: Iterable[dt.date], values: pa.Table
) -> None:
    """Delete older rows; the literal dates let DuckDB skip every row group of another time."""
    for first, last in _spans(dates):
        where = f"source = ? AND created_date BETWEEN DATE '{first}' AND DATE '{last}'"
        sql = f"DELETE FROM {table.name} WHERE {where} AND {table.identity} IN (SELECT value FROM incoming)"
        _execute(connection, sql, [source], values)


def _update(connection: DuckDBPyConnection, table: Table, source: str, updates: pa.Table) -> None:
    """Close older rows where they are still open."""
    key, (_, _, first, *others) = KEYS[table.name], updates.column_names
    values = ", ".join(f"{name} = incoming.{name}" for name in (first, *others))
    for start, end in _spans(updates["created_date"].unique().to_pylist()):
        where = f"{table.name}.source = ? AND {table.name}.created_date BETWEEN DATE '{start}' AND DATE '{end}'"
        same = f"{table.name}.{key} = incoming.id AND {table.name}.created_date = incoming.created_date"
        sql = (
            f"UPDATE {table.name} SET {values} FROM incoming WHERE {where} AND {same} AND {table.name}.{first} IS NULL"
        )
        _execute(connection, sql, [source], updates)


def _spans(dates: Iterable[dt.date]) -> Iterator[tuple[dt.date, dt.date]]:
    """Join days that follow each other: a catch-up over a year is one span."""
    day = dt.timedelta(days=1)
    known = set(dates)
    firsts = sorted(date for date in known if date == dt.date.min or date - day not in known)
    lasts = sorted(date for date in known if date == dt.date.max or date + day not in known)
    return zip(firsts, lasts, strict=True)


def _execute(connection: DuckDBPyConnection, sql: str, parameters: list[str], incoming: pa.Table) -> None:  # noqa: ARG001
    """Run a statement that reads ``incoming``: DuckDB finds the variable here by its name.

    A name that was registered would hold the rows in memory until the transaction ends.
    """
    connection.execute(sql, parameters)
