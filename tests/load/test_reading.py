"""Reading the snapshot: notebooks see a whole one, and SQL given to `query` can do nothing but read it."""

from __future__ import annotations

import contextlib

import pytest

from pipeline.errors import FolderError, UsageError
from pipeline.load.duckdb import DuckDBDestination
from pipeline.load.reading import connect, query
from pipeline.load.snapshot import publish

from .made import Source, Version


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """Publish a snapshot of two completions, in a folder whose name needs quoting; nothing here may change it."""
    folder = tmp_path_factory.mktemp("reading") / "it's data"
    writer = folder / ".writer" / "writer.duckdb"
    destination = DuckDBDestination(writer)
    destination.load([Source().batch(Version("a"), Version("b"))])
    destination.close()
    publish(writer, folder / "warehouse.duckdb", versions=folder / ".published", scratch=folder / ".writer" / "scratch")
    return folder / "warehouse.duckdb"


@pytest.mark.slow
def test_connect(snapshot):
    """Tables and views are there by their plain names."""
    with contextlib.closing(connect(snapshot)) as connection:
        assert connection.execute("SELECT id FROM completions ORDER BY id").fetchall() == [("a",), ("b",)]
        assert connection.execute("SELECT requests FROM usage_daily").fetchall() == [(2,)]


def test_nothing_published(tmp_path):
    """Without a snapshot the error says so, and makes no file."""
    with pytest.raises(FolderError, match="nothing was published"):
        connect(tmp_path / "warehouse.duckdb")
    assert not list(tmp_path.iterdir())


def test_query(snapshot):
    """A query gives its columns' names and its rows."""
    with query(snapshot, "SELECT id, metadata AS m FROM completions ORDER BY id") as answer:
        assert answer.columns == ("id", "m")
        assert list(answer.rows) == [("a", None), ("b", None)]


def test_rows_are_read_as_asked_for(snapshot):
    """A result larger than memory can be begun, and left."""
    with query(snapshot, "SELECT i AS n FROM range(10_000_000_000_000) AS r(i)") as answer:
        assert [next(answer.rows), next(answer.rows)] == [(0,), (1,)]


FORBIDDEN = [
    "COPY completions TO '{folder}/out.csv'",
    "COPY completions TO '{folder}/out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{folder}/out'",
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT * FROM read_text('{folder}/secret.csv')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM '{folder}/secret.csv'",
    "ATTACH '{folder}/other.duckdb'",
    "ATTACH '{folder}/other.duckdb' AS other (READ_ONLY)",
    "INSTALL httpfs",
    "LOAD '{folder}/x.duckdb_extension'",
    "SET enable_external_access = true",
    "SET threads = 1",
    "RESET lock_configuration",
    "PRAGMA memory_limit = '1TB'",
    "INSERT INTO bookmarks VALUES ('x', 1)",
    "UPDATE completions SET model = 'x'",
    "DELETE FROM completions",
    "DROP TABLE completions",
    "CREATE TABLE mine (i INTEGER)",
    "SELECT 1 AS one; DELETE FROM completions",
    "SELECT * FROM local_of_the_caller",
    "SELECT * FROM no_such_table",
    "SELEC",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_query_may_only_read_the_snapshot(snapshot, tmp_path, sql):
    """Whatever would read, write or load anything else is a UsageError, and leaves no trace."""
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    local_of_the_caller = Source().batch(Version("a")).tables["completions"]
    assert local_of_the_caller.num_rows == 1
    content, files = snapshot.read_bytes(), _files(snapshot, tmp_path)
    with pytest.raises(UsageError), query(snapshot, sql.format(folder=tmp_path)) as answer:
        list(answer.rows)
    assert (snapshot.read_bytes(), _files(snapshot, tmp_path)) == (content, files)


def _files(snapshot, folder):
    """Name every file beside the snapshot and in the folder that the query names."""
    return sorted([*snapshot.parent.rglob("*"), *folder.rglob("*")])


def test_error_while_reading_rows(snapshot):
    """An error that DuckDB meets only on the way is a UsageError too."""
    sql = "SELECT CASE WHEN i = 500000 THEN error('late') ELSE i END AS n FROM range(1000000) AS r(i)"
    with pytest.raises(UsageError, match="late"), query(snapshot, sql) as answer:
        list(answer.rows)
