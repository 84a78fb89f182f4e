"""The library: `pipeline.run` and `pipeline.connect`, as an orchestrator and a notebook use them."""

import gc
import logging
import pickle
import signal
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

import pipeline
from pipeline import errors
from pipeline.config import Config
from pipeline.errors import FolderError, FolderInUseError, PipelineError, TryAgainError, UsageError
from pipeline.files import locked
from pipeline.load import reading
from pipeline.sandbox.app import Identity
from pipeline.sandbox.faults import Fault
from pipeline.schema import TABLES
from tests.e2e.place import BARE, KEY, NOW, Place, held, in_snapshot

KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PipelineError)]


@pytest.fixture
def place(tmp_path):
    """Serve three completions next to an empty data folder."""
    with Place(tmp_path) as one:
        one.add(NOW - 60, 3)
        yield one


@pytest.fixture
def other(tmp_path):
    """Serve two completions of another project."""
    (tmp_path / "other").mkdir()
    with Place(tmp_path / "other", identity=Identity(project="proj_other")) as one:
        one.add(NOW - 30, 2)
        yield one


def both(place, other, **settings):
    """Put two servers into one configuration."""
    return Config(data=place.data, sources=(place.source("prod"), other.source("search")), **{**BARE, **settings})


@pytest.mark.slow
def test_run_leaves_the_process_alone(place):
    """No signal handler, no logging, no exit; the result survives pickling and says it all."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    loggers = logging.root.handlers[:]
    result = place.run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert logging.root.handlers == loggers
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 - our own bytes
    assert (result.exit_code, result.published, result.sources[0].new) == (0, True, 3)


def test_run_tells_of_every_page(place):
    """``observe`` hears after each page how far the walk is; the ends, asked before it, are no part of it."""
    heard = []
    pipeline.run(place.config(bare=True, limit=2), observe=heard.append)
    assert [progress.pages for progress in heard] == [1, 2]
    assert heard[-1].kept == 3


def test_run_tells_of_what_follows_the_walk(place):
    """``observe`` hears of every completion whose input messages are kept, and of the pages of a sweep."""
    heard = []
    for _ in range(2):
        pipeline.run(place.config(bare=True, messages=True, sweep_every=0.0), observe=heard.append)
    assert [progress.messages for progress in heard][:4] == [0, 1, 2, 3]
    assert [progress.is_sweep for progress in heard].count(True) >= 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind):
    """An error crosses process borders with its message, hint and code."""
    error = kind("what is wrong", hint="what to do")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(back), str(back), back.hint, back.exit_code) == (kind, str(error), "what to do", kind.exit_code)


def test_a_folder_in_use_is_raised(place):
    """What makes the folder unusable is raised, not told in a result."""
    place.run(bare=True)
    with locked(place.data / ".writer" / "lock"), pytest.raises(FolderInUseError):
        place.run(bare=True)


# -- several sources -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_source_has_its_name_on_its_rows(place, other):
    """Two projects come into one set of tables, told apart by source."""
    result = pipeline.run(both(place, other, parquet=True, duckdb=True))
    assert result.exit_code == 0
    with closing(pipeline.connect(place.data)) as connection:
        told = connection.execute("SELECT source, count(*) FROM completions GROUP BY ALL ORDER BY ALL").fetchall()
        fresh = connection.execute("SELECT source, complete FROM freshness ORDER BY ALL").fetchall()
    assert told == [("prod", 3), ("search", 2)]
    assert fresh == [("prod", True), ("search", True)]


@pytest.mark.parametrize(
    ("first", "second", "code"), [("401", "503", 77), ("503", "404", 78), ("401", None, 77), (None, "503", 75)]
)
def test_a_failing_source_does_not_stop_the_others(place, other, first, second, code):
    """Each source ends as it ends; of several codes the worst speaks for the run."""
    for one, fault in ((place, first), (other, second)):
        one.server.app.faults = (Fault(fault, times=0, header="retry-after-ms", value="1"),) if fault else ()
    result = pipeline.run(both(place, other))
    assert result.exit_code == code
    assert (held(place.data) != set()) == (first is None)
    assert (held(place.data, "search") != set()) == (second is None)


def test_two_sources_of_one_project_are_refused(tmp_path, place):
    """Two keys that answer for the same organization and project would count every completion twice."""
    (tmp_path / "second-key").write_text(KEY, encoding="utf-8")
    twin = replace(place.source("twin"), api_key=f"file:{tmp_path / 'second-key'}")
    result = pipeline.run(Config(data=place.data, sources=(place.source(), twin), **BARE))
    told = {source.source: source for source in result.sources}
    assert (told["prod"].exit_code, told["twin"].exit_code, result.exit_code) == (0, 78, 78)
    assert "would count twice" in told["twin"].why_not
    assert held(place.data, "twin") == set()


def test_a_source_stays_itself(place):
    """A key that answers for another project is refused in later runs too, and what is held stays."""
    place.run(bare=True)
    for _ in range(2):
        result = place.run("1-:other-project", bare=True)
        assert (result.exit_code, len(held(place.data))) == (77, 3)
        assert "proj_sandbox-other" in result.sources[0].why_not
    assert place.run(bare=True).exit_code == 0


# -- connect -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_notebook_keeps_its_snapshot_while_a_run_publishes(place):
    """An open connection goes on seeing what it was opened on; connecting again shows the newer one."""
    place.run()
    with closing(pipeline.connect(place.data)) as notebook:
        place.add(NOW - 10)
        assert place.run().published
        assert notebook.execute("SELECT count(*) AS n FROM completions").fetchall() == [(3,)]
        assert len(in_snapshot(place.data)) == 4
        assert notebook.execute("SELECT count(*) AS n FROM completions").fetchall() == [(3,)]


def test_a_notebook_cannot_write(place):
    """The snapshot is opened read-only."""
    place.run()
    with closing(pipeline.connect(place.data)) as notebook, pytest.raises(Exception, match="read-only"):
        notebook.execute("DELETE FROM completions")


def test_connect_before_anything_was_published(tmp_path):
    """FolderError says what to do."""
    with pytest.raises(FolderError, match="pipeline run"):
        pipeline.connect(tmp_path)


# -- iter_arrow ----------------------------------------------------------------------------------------------------


def moment(second):
    return datetime.fromtimestamp(second, UTC)


def read(place, *bounds, **more):
    """Read every part, and return the rows."""
    return [row for part in pipeline.iter_arrow(*bounds, data=place.data, **more) for row in part.to_pylist()]


@pytest.mark.slow
def test_arrow_is_half_open_in_any_zone(place):
    """From since on and before until, both as moments: neighbouring intervals share no row and miss none."""
    place.run()
    first = {row["id"] for row in read(place, None, moment(NOW - 60))}
    zone = timezone(timedelta(hours=5, minutes=30))
    second = {row["id"] for row in read(place, moment(NOW - 60).astimezone(zone), moment(NOW - 59))}
    third = {row["id"] for row in read(place, moment(NOW - 59), None)}
    assert (len(first), len(second), len(third)) == (0, 3, 0)
    assert {row["id"] for row in read(place)} == second


@pytest.mark.parametrize("table", [name for name, table in TABLES.items() if "created" in table.columns.names])
def test_arrow_has_the_types_of_the_schema(place, table):
    """Columns, types and times in UTC are those declared, of every table that has created."""
    place.run()
    parts = list(pipeline.iter_arrow(data=place.data, table=table))
    assert all(part.schema.equals(TABLES[table].columns) for part in parts)
    assert table not in {"completions", "choices"} or sum(part.num_rows for part in parts) == 3


@pytest.mark.slow
def test_arrow_comes_in_parts_of_one_snapshot(place):
    """No part is larger than asked for, and what is published meanwhile is not seen: the call's snapshot is read."""
    for second in range(50):
        place.add(NOW - 100 + second, 50)
    place.run(limit=1000)
    parts = pipeline.iter_arrow(data=place.data)
    sizes = [next(parts).num_rows]
    place.add(NOW - 10)
    assert place.run(limit=1000).published
    sizes += [part.num_rows for part in parts]
    assert (sum(sizes), max(sizes) <= reading.ARROW_ROWS, len(read(place))) == (2503, True, 2504)


def test_arrow_of_what_is_not_there(place):
    """FolderError before anything was published; UsageError for a table without created, and for a naive time."""
    with pytest.raises(FolderError, match="there is no data folder"):
        pipeline.iter_arrow(data=place.data)
    place.data.mkdir()
    with pytest.raises(FolderError, match="nothing was published"):
        pipeline.iter_arrow(data=place.data)
    place.run()
    with pytest.raises(UsageError, match="runs is no table with a column created"):
        pipeline.iter_arrow(data=place.data, table="runs")
    with pytest.raises(UsageError, match="time zone"):
        pipeline.iter_arrow(datetime(2026, 11, 1), data=place.data)  # noqa: DTZ001 - that is what is refused


def test_arrow_of_texts_that_do_not_fit(place, monkeypatch):
    """TryAgainError that says what is short, and where everything is."""
    place.run()
    monkeypatch.setattr(reading, "ARROW_MEMORY", "100KB")
    with pytest.raises(TryAgainError, match="too little memory for the longest texts") as error:
        next(pipeline.iter_arrow(data=place.data))
    assert "Parquet hold all of it" in error.value.hint


# -- the key -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_key_shows_nowhere(place, caplog):
    """Neither repr, nor log, nor result, nor any file of the data folder holds it, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    for fault in ("2-:400", "1-:401", "2-:html", "1-:money"):
        result = place.run(fault, retry_attempts=1)
        assert KEY not in repr(result) + repr(place.config())
    place.run()
    assert KEY not in caplog.text
    assert not [path for path in place.data.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    secrets = [one for one in gc.get_objects() if type(one).__name__ == "Secret"]
    assert KEY not in repr(secrets)
