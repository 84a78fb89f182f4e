"""`pipeline query` reads the snapshot and nothing else, whatever DuckDB has to offer: every way is really tried."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.load.duckdb import read_only
from pipeline.load.reading import query
from tests.e2e.place import NOW, Place

#: What must not be seen, in whatever way.
HIDDEN = "what-another-file-holds"

READS = (
    "SELECT * FROM '{folder}/secret.csv'",
    'SELECT * FROM "{folder}/secret.csv"',
    "FROM sniff_csv('{folder}/secret.csv')",
    "FROM read_csv('{folder}/secret.csv')",
    "FROM read_csv('.tmp/secret.csv')",
    "FROM glob('.tmp/*')",
    "FROM glob('{folder}/*')",
    "FROM read_json('{folder}/secret.json')",
    "FROM read_ndjson_objects('{folder}/secret.json')",
    "FROM read_text('{folder}/secret.csv')",
    "FROM read_text('file://{folder}/secret.csv')",
    "FROM read_blob('{folder}/secret.csv')",
    "FROM read_csv('/proc/self/environ', delim = '|')",
    "FROM read_parquet('{folder}/data/parquet/completions/**/*.parquet')",
    "FROM parquet_metadata('{folder}/data/**/*.parquet')",
    "FROM read_duckdb('{folder}/data/.writer/warehouse.duckdb', table_name = 'completions')",
    "DESCRIBE '{folder}/secret.csv'",
    "SUMMARIZE '{folder}/secret.csv'",
    "FROM query_table('{folder}/secret.csv')",
    "FROM query('FROM read_text(''{folder}/secret.csv'')')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{folder}/secret.csv'')'))",
    "CREATE TEMP VIEW mine AS FROM read_text('{folder}/secret.csv')",
    "PRAGMA import_database('{folder}/exported')",
    "IMPORT DATABASE '{folder}/exported'",
)
WRITES = (
    "COPY completions TO '{folder}/out.csv'",
    "COPY completions TO '.tmp/out.csv'",
    "COPY completions TO '{folder}/data/warehouse.duckdb'",
    "COPY completions TO '{folder}/data/warehouse.duckdb.wal'",
    "COPY completions TO '{folder}/data/warehouse.duckdb.wal.checkpoint'",
    "SELECT 1; COPY completions TO '.tmp/out.csv'",
    "COPY completions TO '.tmp/out.csv'; SELECT 1",
    "PREPARE mine AS COPY completions TO '.tmp/out.csv'",
    "EXPLAIN ANALYZE COPY completions TO '.tmp/out.csv'",
    "EXPORT DATABASE '.tmp/out'",
    "USE memory; DETACH warehouse; ATTACH '{folder}/data/warehouse.duckdb' AS w; DELETE FROM w.completions",
    "ATTACH '{folder}/data/.writer/warehouse.duckdb' AS other (READ_ONLY)",
    "ATTACH '.tmp/new.duckdb' AS new",
    "ATTACH ':memory:' AS mine",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "FORCE CHECKPOINT",
    "VACUUM",
)
SETTINGS = (
    "RESET lock_configuration",
    "SET allowed_directories = ['/']",
    "SET temp_directory = '{folder}'",
    "SET home_directory = '{folder}'",
    "SET log_query_path = '{folder}/log'",
    "SET VARIABLE mine = 1",
    "PRAGMA enable_profiling",
    "CALL enable_logging(storage = 'file', storage_path = '{folder}/log')",
)
#: What a snapshot opened without confinement refuses as well: by DuckDB itself, or because what it needs is not here.
ELSEWHERE = (
    "COPY completions FROM '{folder}/secret.csv'",
    "DELETE FROM completions",
    "ATTACH '{folder}/data/warehouse.duckdb' AS again (READ_WRITE)",
    "SELECT getenv('THE_SECRET')",
    "FROM a_variable_of_the_caller",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "PRAGMA enable_external_access = true",
    "PRAGMA profiling_output = '{folder}/profile'",
    "INSTALL httpfs",
    "INSTALL httpfs FROM '{url}'",
    "FORCE INSTALL json",
    "UPDATE EXTENSIONS",
    "LOAD httpfs",
    "LOAD '{folder}/secret.csv'",
    "FROM read_csv('{url}/x.csv')",
    "FROM '{url}/x.parquet'",
    "FROM read_parquet('s3://bucket/x.parquet')",
    "FROM read_text('hf://datasets/a/b')",
    "ATTACH '{url}/x.duckdb' AS far",
    "ATTACH 'ducklake:{folder}/x' AS lake",
    "ATTACH '{folder}/x.sqlite' AS lite (TYPE sqlite)",
    "ATTACH 'host=127.0.0.1' AS pg (TYPE postgres)",
    "CREATE SECRET mine (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CALL start_ui()",
    "FROM start_ui()",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Publish a snapshot, and put secrets beside it and where DuckDB would keep its temp files."""
    folder = tmp_path_factory.mktemp("query")
    (folder / ".tmp").mkdir()
    for place in (folder, folder / ".tmp"):
        (place / "secret.csv").write_text(f"a,b\n{HIDDEN},2\n", encoding="utf-8")
    (folder / "secret.json").write_text(f'{{"a": "{HIDDEN}"}}\n', encoding="utf-8")
    (folder / "exported").mkdir()
    (folder / "exported" / "schema.sql").write_text(f"CREATE TEMP TABLE told AS FROM read_text('{folder}/secret.csv')")
    (folder / "exported" / "load.sql").touch()
    with Place(folder) as place:
        place.add(NOW - 60, 3)
        assert place.run().exit_code == 0
    return folder


@pytest.fixture
def listener():
    """Listen where nobody may knock."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sql", [*READS, *WRITES, *SETTINGS, *ELSEWHERE])
def test_query_reads_the_snapshot_and_nothing_else(folder, listener, monkeypatch, sql):
    """It is refused, tells nothing of any other file, changes no file, and knocks at no door."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("THE_SECRET", HIDDEN)
    a_variable_of_the_caller = [HIDDEN]
    before, url = contents(folder), f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (
        pytest.raises(UsageError) as refused,
        query(folder / "data" / "warehouse.duckdb", sql.format(folder=folder, url=url)) as answer,
    ):
        list(answer.rows)
    assert a_variable_of_the_caller[0] not in str(refused.value)
    assert contents(folder) == before
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.slow
@pytest.mark.parametrize("sql", [*READS, *WRITES, *SETTINGS])
def test_it_is_query_that_refuses(folder, tmp_path, monkeypatch, sql):
    """The same snapshot opened without more ado answers each of these: what is tried above can be done."""
    there = shutil.copytree(folder, tmp_path / "there")
    monkeypatch.chdir(there)
    with closing(read_only(there / "data" / "warehouse.duckdb")) as connection:
        connection.execute(sql.format(folder=there)).fetchall()


def test_what_outgrows_memory_goes_where_nobody_else_reads(folder, monkeypatch, tmp_path):
    """DuckDB's temp folder is one of the query's own, private, and gone with it."""
    monkeypatch.chdir(tmp_path)
    sql = "SELECT value FROM duckdb_settings() WHERE name = 'temp_directory'"
    with query(folder / "data" / "warehouse.duckdb", sql) as answer:
        ((spilled,),) = answer.rows
        found = Path(spilled)
        assert found.stat().st_mode & 0o777 == 0o700
        assert list(tmp_path.iterdir()) == []
    assert not found.exists()
