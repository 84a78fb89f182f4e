"""One part fails, the others do their work: archives that are damaged, disks that are full, stops that come early."""

from __future__ import annotations

import random
import resource
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from pipeline import catchup, failpoints, schema
from pipeline.archive.segments import Archive
from pipeline.doctor import examine
from pipeline.errors import FolderError, TryAgainError
from pipeline.failpoints import FailpointError
from pipeline.load.compare import bookmarks_of_duckdb, bookmarks_of_parquet
from pipeline.load.duckdb import DuckDBDestination
from pipeline.nightly import export
from pipeline.repair import repair
from pipeline.stopping import Stop
from tests.archive.made import intake_of, reading, receive, row

from .world import DAY, NOW, World, prove, rows_of_duckdb, versions

BARE = {"parquet": False, "duckdb": False}


@pytest.fixture
def world(tmp_path):
    """Serve a few completions of some seconds."""
    with World(tmp_path) as one:
        for second in range(20):
            one.add(NOW - 1000 + second)
        yield one


def former_source(world, damage):
    """Leave a segment of a source that is no longer configured, damaged at some bytes."""
    archive = Archive(world.folder.archive, "former", scratch=world.folder.scratch)
    intake = intake_of(archive, segment_size=1)
    receive(intake, *(row(f"f{second}", second, text="x" * second) for second in range(200)))
    intake.cut(reading())
    path = world.folder.archive / "former" / "00000001.parquet"
    data = bytearray(path.read_bytes())
    data[damage] = bytes(len(data[damage]))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("what", ["a stop", "damage"])
def test_readers_keep_what_they_see_until_a_new_file_has_caught_up(world, what):
    """A writer's file that was made anew, and comes no further than a part of the archive, is not published."""
    world.run(segment_size=500)
    seen, segment = rows_of_duckdb(world.folder.snapshot), world.folder.archive / "prod" / "00000002.parquet"
    world.folder.warehouse.unlink()
    world.add(NOW - 10)
    whole, stop = segment.read_bytes(), Stop()
    if what == "damage":
        segment.write_bytes(whole[:4] + bytes(300) + whole[304:])
    result = export(world.config(), stop=stop, observe=lambda _: stop.ask() if what == "a stop" else None)
    assert (rows_of_duckdb(world.folder.snapshot), result.published) == (seen, False)
    (told,) = [done.error for done in result.destinations if done.destination == "snapshot"]
    assert "stays as it was" in told
    segment.write_bytes(whole)
    assert world.run().published
    assert len(rows_of_duckdb(world.folder.snapshot)["completions"]) == len(seen["completions"]) + 1
    prove(world.data)


def test_what_is_made_anew_after_an_accepted_loss_is_published(world):
    """Readers see what is left when the newest segment is lost for good, although they saw more before."""
    world.run(segment_size=500)
    (world.folder.archive / "prod" / f"{world.archive().last:08}.parquet").unlink()
    repair(world.config(), "ledger", accepts_losses=True)
    assert not any(done.error for done in repair(world.config(), "all"))
    assert world.run().exit_code == 0
    prove(world.data)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [slice(-20, None), slice(4, 300)], ids=["the footer", "a column"])
def test_a_damaged_archive_stops_its_own_source_only(world, damage):
    """The other sources are exported, loaded and published; the damaged one is told with its file, and exit 78."""
    path = former_source(world, damage)
    result = world.run()
    told = {source.source: source for source in result.sources}
    assert (result.exit_code, result.published) == (FolderError.exit_code, True)
    assert (told["prod"].exit_code, told["prod"].new) == (0, 20)
    assert str(path) in told["former"].why_not
    shutil.rmtree(path.parent)
    assert world.run().exit_code == 0
    prove(world.data)


def test_a_segment_that_cannot_be_loaded_makes_its_source_incomplete(world):
    """Where rows of a configured source can no longer be read back, its result says so, whatever the walk brought."""
    world.run(**BARE)
    path = world.folder.archive / "prod" / "00000001.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    result = world.run(overlap=0.0)
    assert (result.exit_code, result.sources[0].complete) == (FolderError.exit_code, False)
    assert str(path) in result.sources[0].why_not


def test_what_lies_before_a_damaged_segment_stays_loaded(world, monkeypatch):
    """Where a segment cannot be read, both destinations hold what was loaded before it, and say so."""
    monkeypatch.setattr(catchup, "GROUP_BYTES", 1)
    world.run(segment_size=1_000, limit=5, **BARE)
    assert world.archive().last > 3
    path = world.folder.archive / "prod" / "00000003.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    result = world.run(overlap=0.0)
    assert [done.segments for done in result.destinations] == [2, 2]
    assert bookmarks_of_parquet(world.folder.parquet) == bookmarks_of_duckdb(world.folder.warehouse) == {"prod": 2}


def test_a_page_that_cannot_be_kept_is_not_claimed(world):
    """Where an edited row cannot be compared, the body held being damaged, its page is read again by the next run."""
    world.run(**BARE)
    (late,) = world.add(NOW - 990)
    world.clock.advance(2 * DAY)
    world.store.edit("c2", {"edited": "yes"})
    path = world.folder.archive / "prod" / "00000001.parquet"
    whole, bodies = (
        path.read_bytes(),
        pq.ParquetFile(path).metadata.row_group(0).column(schema.SEGMENT.names.index("body")),
    )
    begin = bodies.dictionary_page_offset or bodies.data_page_offset
    path.write_bytes(
        whole[:begin] + bytes(bodies.total_compressed_size) + whole[begin + bodies.total_compressed_size :]
    )
    assert world.run(limit=100, **BARE).exit_code == FolderError.exit_code
    path.write_bytes(whole)
    world.run()
    assert late in versions(world.archive())
    prove(world.data)


def test_what_has_come_is_kept_before_a_stop_is_heeded(world):
    """A stop, while a page is kept and the next one has come already, drops nothing of what was shown."""
    stop = Stop()

    def observe(_):
        while len(world.store.shown) <= 4:
            time.sleep(0.01)
        time.sleep(0.5)  # what the server has shown arrives
        stop.ask()

    result = export(world.config(limit=4, parquet=False, duckdb=False), stop=stop, observe=observe)
    shown = {id_ for id_, _ in world.store.shown}
    assert (result.stopped, len(shown) > 4) == (True, True)
    assert versions(world.archive()).keys() == shown


@pytest.mark.slow
def test_what_a_killed_run_could_not_tell_is_told_by_the_next(world):
    """Values that fit no column, in a segment whose run died, fail the next run that ends, and no other."""
    world.add(NOW - 1001, temperature="hot")
    with failpoints.armed("run.page=raise:6"), pytest.raises(FailpointError):
        world.run(segment_size=1, **BARE)
    assert world.archive().last > 0
    told = [world.run() for _ in range(2)]
    assert [(result.exit_code, result.sources[0].rejected) for result in told] == [(3, 1), (0, 0)]
    prove(world.data)


def test_a_folder_whose_only_archive_is_damaged_is_refused(world):
    """With nothing left to work on the run ends with the one error that names the file."""
    world.run(**BARE)
    for path in (world.folder.archive / "prod").glob("*.parquet"):
        path.write_bytes(b"damaged")
    with pytest.raises(FolderError, match="00000001"):
        world.run()


def test_a_stop_before_anything_was_read_leaves_no_folder(world):
    """A run that is asked to stop while it knocks ends as stopped, and has made nothing."""
    stop = Stop()
    stop.ask()
    result = export(world.config(), stop=stop)
    assert (result.stopped, result.sources[0].complete, result.sources[0].new) == (True, False, 0)
    assert not world.data.exists()


@contextmanager
def largest_file(size):
    """Let the file system take no more than so many bytes per file."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, allowed[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


@pytest.mark.parametrize("at", [NOW - 1000, NOW - 990, NOW - 970])
def test_a_full_disk_keeps_what_was_durable_and_claims_no_more(world, at):
    """A segment that cannot be written ends the source with exit 75; the next run, with space, brings all home."""
    world.add(at, noise=random.Random(0).randbytes(200_000).hex())
    with largest_file(60_000):
        result = world.run(duckdb=False)
    assert (result.exit_code, result.sources[0].complete) == (75, False)
    assert "no space left" in result.sources[0].why_not
    assert "free some space" in result.sources[0].hint
    kept = versions(world.archive())
    assert result.sources[0].new == len(kept)
    assert (world.position() or 0) < at
    prove(world.data, duckdb=False)
    again = world.run(duckdb=False)
    assert (again.exit_code, again.sources[0].new) == (0, 21 - len(kept))
    assert set(versions(world.archive())) == world.store.visible_ids()
    prove(world.data, duckdb=False)


def test_delta_tables_without_their_library(world, monkeypatch):
    """Where deltalake is not installed the other destinations are loaded; 78 says what to install."""
    monkeypatch.setitem(sys.modules, "pipeline.load.delta", None)
    result = export(replace(world.config(), delta=True))
    (told,) = [one for one in result.destinations if one.destination == "delta"]
    assert (result.exit_code, told.exit_code) == (78, 78)
    assert "deltalake" in str(told.error)
    assert told.hint == "in the checkout: pip install '.[delta]'"
    prove(world.data)
    checks = {check.check: check for check in examine(replace(world.config(), delta=True))}
    assert (checks["delta"].state, checks["delta"].remedy) == ("problem", "in the checkout: pip install '.[delta]'")


def test_a_new_file_whose_log_stays_takes_no_place(world, monkeypatch):
    """What DuckDB could not write into a new file, and told nobody, is not passed over: the old file serves on."""
    close = DuckDBDestination.close

    def closed(self):
        self._connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # as a disk does that fails then
        close(self)

    world.run()
    before = rows_of_duckdb(world.folder.snapshot)
    with monkeypatch.context() as patch:
        patch.setattr(DuckDBDestination, "close", closed)
        with pytest.raises(TryAgainError, match="did not go away"):
            repair(world.config(), "duckdb")
    assert rows_of_duckdb(world.folder.snapshot) == rows_of_duckdb(world.folder.warehouse) == before
    assert [done.error for done in repair(world.config(), "duckdb")] == [None]
    prove(world.data)
