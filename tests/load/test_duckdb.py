"""The writer's DuckDB file keeps the promise of a destination, in transactions."""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest

import pipeline.load.duckdb as door
from pipeline import failpoints
from pipeline.errors import DiskFullError, FolderInUseError, RefusedError, TryAgainError
from pipeline.failpoints import FailpointError
from pipeline.folder import DataFolder
from pipeline.load.duckdb import DuckDBDestination, explained, read_only
from pipeline.load.meanings import DamagedError, meaning
from pipeline.schema import TABLES, describe

from .conformance import Conformance
from .made import DAY, TENTH, Memory, Source, Version, example, in_order


@pytest.fixture(autouse=True)
def _made_anew(monkeypatch):
    """Let each file be made, and none begin as a copy."""
    monkeypatch.setattr(door, "_prepared", door._prepared.__wrapped__)


class TestDuckDB(Conformance):
    """The conformance suite on a real file."""

    failpoints = ("duckdb.deleted", "duckdb.inserted", "duckdb.committed")

    def open(self, folder):
        return DuckDBDestination(folder / ".writer" / "writer.duckdb")

    def contents(self, folder):
        with contextlib.closing(duckdb.connect(folder / ".writer" / "writer.duckdb", read_only=True)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return {name: in_order(self.rows(connection, name)) for name in TABLES}

    def rows(self, connection, name):
        table = connection.sql(f"SELECT * FROM {name}").to_arrow_reader().read_all()
        assert table.schema.names == TABLES[name].columns.names
        return table.cast(TABLES[name].columns).to_pylist(maps_as_pydicts="strict")

    def check_stopped(self, contents, before, after):
        """Find all or nothing: it was a transaction."""
        assert contents in (before, after)


def writer_of(folder):
    return folder / ".writer" / "writer.duckdb"


def ask(path, sql):
    with contextlib.closing(duckdb.connect(path, read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def test_storage_version(tmp_path):
    """The file is of the storage version that DuckDB 1.4 and later can open, and private."""
    TestDuckDB().load(tmp_path)
    assert ask(writer_of(tmp_path), "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal") == [
        ("v1.4.0+",)
    ]
    assert writer_of(tmp_path).stat().st_mode & 0o777 == 0o600


def test_no_extension_is_downloaded(tmp_path):
    """Neither the writer nor a reader installs what is missing: a night must not hang on somebody else's server."""
    asked = "SELECT current_setting('autoinstall_known_extensions')"
    with contextlib.closing(TestDuckDB().open(tmp_path)) as writer:
        assert writer._connection.execute(asked).fetchall() == [(False,)]
    with contextlib.closing(read_only(writer_of(tmp_path))) as reader:
        assert reader.execute(asked).fetchall() == [(False,)]


def test_declared_types_and_comments(tmp_path):
    """Every column has its declared type and sentence, every table and view its sentence; there is no index."""
    TestDuckDB().load(tmp_path)
    columns = ask(writer_of(tmp_path), "SELECT table_name, column_name, comment, is_nullable FROM duckdb_columns()")
    declared = {
        (table.name, field.name, describe(field), field.nullable)
        for table in TABLES.values()
        for field in table.columns
    }
    assert declared <= set(columns)
    types = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'completions'"
    kinds = dict(ask(writer_of(tmp_path), types))
    assert (kinds["seed"], kinds["created"], kinds["metadata"], kinds["tools"], kinds["created_date"]) == (
        "BIGINT",
        "TIMESTAMP WITH TIME ZONE",
        "MAP(VARCHAR, VARCHAR)",
        "VARCHAR",
        "DATE",
    )
    named = (
        "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL UNION ALL SELECT view_name FROM duckdb_views() "
    )
    assert ask(writer_of(tmp_path), named + "WHERE comment IS NULL AND NOT internal") == []
    assert ask(writer_of(tmp_path), "SELECT * FROM duckdb_indexes()") == []


def test_what_was_not_settled_is_not_there(tmp_path):
    """A file that is closed before a load was settled holds what was settled before, and its bookmark."""
    suite, source = TestDuckDB(), Source()
    suite.load(tmp_path, [source.batch(example())])
    destination = suite.open(tmp_path)
    destination.load([source.batch(Version("b"))], settle=False)
    destination.close()
    assert suite.load(tmp_path) == {"prod": 1}
    assert ask(writer_of(tmp_path), "SELECT id FROM completions") == [("chatcmpl-1",)]


def test_prose_is_kept_small(tmp_path):
    """Answers are stored as zstd: by itself DuckDB would take several times the time and the space."""
    TestDuckDB().load(tmp_path, [Source().batch(example(text="word " * 1000), *(Version(f"{n}") for n in range(50)))])
    kinds = "SELECT DISTINCT compression FROM pragma_storage_info('choices') WHERE column_name = 'content'"
    assert ("ZSTD",) in ask(writer_of(tmp_path), kinds)


def long_texts(first, count, words=4_000):
    """Make versions whose texts fill, 2,000 of them, more memory than these tests leave DuckDB for a load."""
    return [Version(f"{n}", TENTH + n, text=f"{n:>10} " * words) for n in range(first, first + count)]


@pytest.fixture
def narrow(monkeypatch):
    """Leave little memory for a load; DuckDB holds the texts of 2,048 rows in its hands when it writes them."""
    monkeypatch.setattr(door, "_MEMORY", 24_000_000)


def test_it_spills_where_the_next_run_clears(tmp_path):
    """What DuckDB puts aside lies in the folder that whoever takes the lock empties."""
    folder = DataFolder(tmp_path)
    with contextlib.closing(DuckDBDestination(folder.warehouse)) as destination:
        ((spills,),) = destination._connection.execute("SELECT current_setting('temp_directory')").fetchall()
    assert spills == str(folder.spilled)


@pytest.mark.usefixtures("narrow")
def test_long_texts_are_loaded(tmp_path):
    """Texts that need more memory than a load is given otherwise get it; in one transaction, as in a first export."""
    suite, source = TestDuckDB(), Source()
    with contextlib.closing(suite.open(tmp_path)) as destination:
        for first in range(0, 2_100, 300):
            destination.load([source.batch(*long_texts(first, 300))], settle=False)
        destination.settle()
    assert ask(writer_of(tmp_path), "SELECT count(*), min(length(content)) FROM choices") == [(2_100, 44_000)]


@pytest.mark.slow
@pytest.mark.both_duckdbs
@pytest.mark.usefixtures("narrow")
def test_a_night_behind_long_texts(tmp_path):
    """Long texts that are written anew, with a few of a night among many short ones, take the memory that they need."""
    suite, source = TestDuckDB(), Source()
    suite.load(tmp_path, [source.batch(*long_texts(0, 2_000))])
    for night in (1, 2, 3):
        short = [Version(f"{night} {n}", TENTH + DAY, text=f"{n} " * 300) for n in range(1_200)]
        suite.load(tmp_path, [source.batch(*long_texts(3_000 * night, 20, words=18_000), *short)])
        assert [path.name for path in writer_of(tmp_path).parent.iterdir()] == [writer_of(tmp_path).name]
    assert ask(writer_of(tmp_path), "SELECT count(*) FROM choices") == [(5_660,)]


def test_rows_lie_in_order(tmp_path):
    """Rows are stored by created, so that a query for some days skips the rest."""
    TestDuckDB().load(tmp_path, [Source().batch(*(Version(f"{n}", TENTH + 7 * n % 5 * DAY) for n in range(5)))])
    stored = ask(writer_of(tmp_path), "SELECT created FROM completions ORDER BY rowid")
    assert stored == sorted(stored)
    assert len(stored) == 5


def test_file_in_use(tmp_path):
    """A file that another process has open is said to be in use, and stays as it is."""
    suite, source = TestDuckDB(), Source()
    suite.load(tmp_path, [source.batch(example())])
    code = f"import duckdb; held = duckdb.connect({str(writer_of(tmp_path))!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(FolderInUseError, match=r"writer\.duckdb"):
            suite.open(tmp_path)
        holder.communicate(b"\n")
    assert suite.load(tmp_path) == {"prod": 1}


@pytest.mark.parametrize("content", [b"", b"not a database" * 10_000])
def test_not_a_database(tmp_path, content):
    """A file that is no DuckDB file holds nothing and is made anew."""
    writer_of(tmp_path).parent.mkdir()
    writer_of(tmp_path).write_bytes(content)
    TestDuckDB().both(tmp_path, [Source().batch(example())])


def test_somebody_elses_database(tmp_path):
    """A DuckDB file without our tables is made anew."""
    writer_of(tmp_path).parent.mkdir()
    with contextlib.closing(duckdb.connect(writer_of(tmp_path))) as connection:
        connection.execute("CREATE TABLE completions (i INTEGER)")
    TestDuckDB().both(tmp_path, [Source().batch(example())])


@pytest.mark.slow
def test_damage_found_on_the_way(tmp_path):
    """Damage found while loading ends the run with 75; the next one finds no file and rebuilds it."""
    suite, source = TestDuckDB(), Source()
    batches = [source.batch(*(Version(f"{n}", TENTH, f"{n}" * 500) for n in range(5000))), source.batch(Version("7"))]
    suite.load(tmp_path, batches[:1])
    content = bytearray(writer_of(tmp_path).read_bytes())
    # Headers and catalog stay readable; rows do not.
    for at in range(12_288, len(content) - 8, 262_144):
        if not any(words in content[at : at + 262_144] for words in (b"usage_daily", b"The API's id")):
            content[at + 1000 : at + 1100] = b"?" * 100
    writer_of(tmp_path).write_bytes(content)
    with pytest.raises(TryAgainError) as caught:
        suite.load(tmp_path, batches[1:])
    assert caught.value.hint == "run again: it is rebuilt from the archive"
    suite.both(tmp_path, batches)


def test_failed_statement_is_a_bug(tmp_path):
    """What DuckDB refuses for our own fault is not called a trouble of the machine, and changes nothing."""
    suite, source = TestDuckDB(), Source()
    first, second = source.batch(example()), source.batch(example(text="edited"))
    rows = second.tables["choices"]
    columns = [pa.nulls(rows.num_rows, pa.string()), *rows.columns[1:]]
    second.tables["choices"] = pa.Table.from_arrays(columns, schema=rows.schema)
    suite.load(tmp_path, [first])
    with pytest.raises(duckdb.ConstraintException):
        suite.load(tmp_path, [second])
    suite.both(tmp_path, [first])


@pytest.mark.slow
def test_load_after_a_failure(tmp_path, monkeypatch):
    """A destination goes on after a load that failed and was rolled back."""
    suite, (base, later) = TestDuckDB(), TestDuckDB().story()
    destination = suite.open(tmp_path)
    destination.load(base)
    monkeypatch.setattr(failpoints, "_plan", {"duckdb.inserted": ("raise", 1)})
    monkeypatch.setattr(failpoints, "_passed", {})
    with pytest.raises(FailpointError):
        destination.load(later)
    monkeypatch.undo()
    destination.load(later)
    destination.close()
    model = Memory()
    model.load([*base, *later])
    assert suite.contents(tmp_path) == model.contents()


def test_usage_views(tmp_path):
    """Usage is summed by day, source and model; a counter that nobody told is NULL, and rows without usage count."""
    source = Source()
    versions = [
        Version("a", more={"prompt_tokens": 2, "completion_tokens": 1, "prompt_cached_tokens": 1}),
        Version("b", more={"prompt_tokens": 3, "total_tokens": 2**62}),
        Version("c", TENTH + DAY, more={"total_tokens": None}),
        Version("d", TENTH + DAY, more={"total_tokens": 2**62, "model": "gpt-4o-mini"}),
    ]
    TestDuckDB().load(tmp_path, [source.batch(*versions)])
    daily = "SELECT day, model, requests, requests_without_usage, prompt_tokens, completion_tokens, total_tokens, "
    daily += "prompt_cached_tokens, completion_reasoning_tokens FROM usage_daily WHERE source = 'prod' ORDER BY ALL"
    assert ask(writer_of(tmp_path), daily) == [
        (dt.date(2026, 1, 10), "gpt-4o", 2, 0, 5, 1, 2**62 + 3, 1, None),
        (dt.date(2026, 1, 11), "gpt-4o", 1, 1, None, None, None, None, None),
        (dt.date(2026, 1, 11), "gpt-4o-mini", 1, 0, None, None, 2**62, None, None),
    ]
    by_model = "SELECT source, model, requests, total_tokens, last::VARCHAR FROM usage_by_model ORDER BY model"
    assert ask(writer_of(tmp_path), by_model) == [
        ("prod", "gpt-4o", 3, 2**62 + 3, "2026-01-11 00:00:00+00"),
        ("prod", "gpt-4o-mini", 1, 2**62, "2026-01-11 00:00:00+00"),
    ]


def test_freshness(tmp_path):
    """Freshness is what the latest run of each source said, with the safety that it saw."""
    one, two = Source("one"), Source("two")
    told = {"is_horizon_known": True, "messages_waiting": 3, "missed": 4, "horizon": 5, "safety": 6}
    TestDuckDB().load(tmp_path, [one.batch(), with_run(one.batch(), told)], [two.batch()])
    freshness = f"SELECT source, run_id, complete, data_through::VARCHAR, {', '.join(told)} FROM freshness"
    assert ask(writer_of(tmp_path), f"{freshness} ORDER BY source") == [
        ("one", "run-2", True, "2026-02-09 00:00:00+00", *told.values()),
        ("two", "run-1", True, "2026-02-09 00:00:00+00", *[None] * len(told)),
    ]
    times = "oldest_listed, lost_from, lost_to, swept_through"
    assert ask(writer_of(tmp_path), f"SELECT DISTINCT {times} FROM freshness") == [(None,) * 4]


def with_run(batch, told):
    """Let the run of a batch say more."""
    rows = [row | told for row in batch.tables["runs"].to_pylist()]
    batch.tables["runs"] = pa.Table.from_pylist(rows, batch.tables["runs"].schema)
    return batch


def test_conversations(tmp_path):
    """Inputs come first, then each answer with its own calls, counted from 0; what is gone says so."""
    source = Source()
    batches = [
        source.batch(example(choices=2, calls=2), Version("alone", TENTH + DAY, calls=1)),
        source.batch(fetched={"chatcmpl-1": 2}),
        source.batch(gone=["alone"]),
    ]
    batches[0].tables["choices"] = without_index(batches[0].tables["choices"], "alone")
    TestDuckDB().load(tmp_path, batches)
    turns = "SELECT completion_id, position, direction, choice_index, content, gone_at IS NULL, tool_calls"
    first, second = '{"id":"call","type":null,"name":null,"arguments":null,"input":null}', "[{0},{0}]"
    assert ask(writer_of(tmp_path), f"{turns} FROM conversations ORDER BY created, position") == [
        ("chatcmpl-1", 0, "input", None, "2", True, None),
        ("chatcmpl-1", 1, "input", None, "2", True, None),
        ("chatcmpl-1", 2, "answer", 0, "hello", True, second.format(first)),
        ("chatcmpl-1", 3, "answer", 1, "hello", True, None),
        ("alone", 0, "answer", None, "hello", False, f"[{first}]"),
    ]


def without_index(choices, id_):
    """Take the index from the choices of a completion, as some servers send them."""
    rows = [row | ({"index": None} if row["completion_id"] == id_ else {}) for row in choices.to_pylist()]
    return pa.Table.from_pylist(rows, choices.schema)


@pytest.mark.slow
def test_another_setting_of_logprobs(tmp_path):
    """A file made without log probabilities is made anew where they are asked for, and the other way round."""
    TestDuckDB().load(tmp_path, [Source().batch(example())])
    for asked, held in ((False, {"prod": 1}), (True, {})):
        with contextlib.closing(DuckDBDestination(writer_of(tmp_path), logprobs=asked)) as destination:
            assert destination.bookmarks() == held


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("IO Error: No space left on device", DiskFullError),
        ("IO Error: Cannot open file: Permission denied", RefusedError),
        ("IO Error: Read-only file system", RefusedError),
        ("Corrupt database file: computed checksum 1", DamagedError),
        ("TransactionContext Error: Failed to commit: failed to pin block of size 2.1 MiB", TryAgainError),
    ],
)
def test_meanings(tmp_path, message, kind):
    """Each message of DuckDB about the machine becomes the error that says what to do."""
    assert type(meaning(message, tmp_path)) is kind


def test_unknown_trouble(tmp_path):
    """Trouble of the machine without known words is to be tried again, with DuckDB's own words."""
    with pytest.raises(TryAgainError, match="fsync"), explained(tmp_path):
        raise duckdb.FatalException("fsync failed!")
