"""What is derived is the last copy when the archive has lost something: nothing destroys it, and nothing is hidden."""

from __future__ import annotations

import shutil

import duckdb
import pytest

import pipeline.load.duckdb as door
from pipeline import failpoints
from pipeline.errors import CheckFailedError, FolderError, UsageError
from pipeline.failpoints import FailpointError
from pipeline.forget import forget
from pipeline.repair import repair
from pipeline.verify import verify

from .world import DAY, HOUR, NOW, World, versions

#: Of several; it holds the input messages of the first night.
SECOND = "00000002.parquet"


@pytest.fixture
def world(tmp_path):
    """Hold two nights of completions with their messages, in one of them an image."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": None}}
    with World(tmp_path, limit=10, segment_size=10**6, messages=True, sweep_every=1e9) as one:
        one.ids = [one.add(NOW - DAY + number * HOUR)[0] for number in range(4)]
        one.run()
        body = {"id": "pictured", "object": "chat.completion", "created": NOW - HOUR, "model": "m", "choices": []}
        one.store.add(body, messages=[{"role": "user", "content": [image]}])
        one.run()
        yield one


def lose(world, name=SECOND):
    """Lose a segment; returns where it lies now."""
    path = world.folder.archive / "prod" / name
    return shutil.move(path, world.data.parent / name)


def kinds(verdict):
    return {problem.kind for problem in verdict.problems}


@pytest.mark.parametrize(
    "what", ["all", "ledger", *(pytest.param(what, marks=pytest.mark.slow) for what in ("parquet", "duckdb", "blobs"))]
)
def test_nothing_is_made_anew_from_an_archive_that_lacks_a_segment(world, what):
    """Rebuilding and removing refuse, and what was lost is whole again when it is restored."""
    aside = lose(world)
    assert kinds(verify(world.config())) >= {"segment-missing"}
    assert "blob-extra" not in kinds(verify(world.config()))
    with pytest.raises(FolderError, match=f"{SECOND} is missing"):
        repair(world.config(), what)
    with pytest.raises(FolderError, match=f"{SECOND} is missing"):
        forget(world.config(), ids=[world.ids[0]])
    shutil.move(aside, world.folder.archive / "prod" / SECOND)
    assert world.run().exit_code == 0
    assert verify(world.config()).unexplained == 0


@pytest.mark.slow
def test_a_loss_without_a_backup_is_accepted_by_word_only(world):
    """The ledger notes the loss when it is told to; then what is left is made anew and verified."""
    lose(world)
    repair(world.config(), "ledger", accepts_losses=True)
    repair(world.config(), "all")
    repair(world.config(), "blobs")
    verdict = verify(world.config())
    assert (verdict.unexplained, verdict.proofs[0].held) == (0, 5)
    (new,) = world.add(NOW)
    assert world.run().exit_code == 0
    assert new in {row[0] for row in ask(world, "SELECT id FROM completions")}
    assert verify(world.config()).unexplained == 0


def test_an_archive_that_ends_before_its_destinations_is_named(world):
    """Where segment and ledger are lost together, what destinations hold beyond is told, and not thrown away."""
    last = max(path.name for path in (world.folder.archive / "prod").glob("0*.parquet"))
    lose(world, last)
    (world.folder.archive / "prod" / "ledger.jsonl").unlink()
    verdict = verify(world.config())
    assert "archive-missing" in kinds(verdict)
    assert all("backup" in one.repair for one in verdict.problems if one.kind == "archive-missing")
    with pytest.raises(FolderError, match="the archive ends with"):
        repair(world.config(), "all")


@pytest.mark.slow
def test_an_archive_that_is_gone_is_named(world):
    """A source without an archive is told as such, not as rows too many."""
    shutil.rmtree(world.folder.archive / "prod")
    assert kinds(verify(world.config())) == {"archive-missing"}
    with pytest.raises(FolderError, match="restore archive/prod"):
        repair(world.config(), "all")


@pytest.mark.slow
def test_the_ledger_blesses_no_damage(world):
    """A segment that is not what was entered is not entered anew, however well its rows fit their hashes."""
    path = world.folder.archive / "prod" / SECOND
    data = bytearray(path.read_bytes())
    data[-12] ^= 1  # in the length of the footer's text, or behind it: no row
    path.write_bytes(data)
    before = (path.parent / "ledger.jsonl").read_bytes()
    with pytest.raises((CheckFailedError, FolderError)):
        repair(world.config(), "ledger")
    assert (path.parent / "ledger.jsonl").read_bytes() == before


def ask(world, sql):
    """Ask the snapshot."""
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_long_texts_are_compared(world, monkeypatch):
    """Where what is compared does not fit the memory that is set aside for it, it is compared in more."""
    monkeypatch.setattr(door, "_READING", 300_000)
    assert verify(world.config()).unexplained == 0


LAGGING = {
    "a bookmark lowered": ("UPDATE bookmarks SET segment = 1",),
    "bookmarks emptied": ("DELETE FROM bookmarks", "DELETE FROM choices"),
    "two bookmarks": ("INSERT INTO bookmarks FROM bookmarks",),
    "a view replaced": ("CREATE OR REPLACE VIEW usage_by_model AS SELECT 1 AS model",),
    "a view dropped": ("DROP VIEW conversations",),
    "a view added": ("CREATE VIEW mine AS SELECT 1 AS one",),
    "a table dropped": ("DROP TABLE tool_calls",),
    "the bookmarks dropped": ("DROP TABLE bookmarks",),
    "a column dropped": ("ALTER TABLE runs DROP COLUMN version",),
}


@pytest.mark.parametrize("name", LAGGING)
@pytest.mark.slow
def test_a_warehouse_that_says_it_holds_less_is_compared_all_the_same(world, name):
    """Whatever a DuckDB file says of itself, what it holds is compared; a rebuild mends it."""
    with duckdb.connect(world.folder.warehouse) as connection:
        for statement in LAGGING[name]:
            connection.execute(statement)
    verdict = verify(world.config())
    assert (kinds(verdict), verdict.exit_code) == ({"duckdb-differs"}, 4)
    repair(world.config(), "duckdb")
    assert verify(world.config()).unexplained == 0


@pytest.mark.slow
def test_a_destination_that_lags_is_compared_up_to_where_it_is(world):
    """What was not loaded yet is a note; a row changed in what was is a problem."""
    world.add(NOW + 60)
    world.clock.advance(HOUR)
    world.run(parquet=False, duckdb=False)
    verdict = verify(world.config())
    assert (verdict.unexplained, len(verdict.notes)) == (0, 3)
    assert verdict.compared == ("parquet", "duckdb", "snapshot")
    with duckdb.connect(world.folder.warehouse) as connection:
        connection.execute("UPDATE choices SET content = 'other'")
    assert kinds(verify(world.config())) == {"duckdb-differs"}


@pytest.mark.slow
def test_a_load_that_was_interrupted_is_a_note(world):
    """Between a kill and the next run verify calls nothing damaged."""
    world.add(NOW - HOUR, 3)
    with failpoints.armed("parquet.merged=raise:2"), pytest.raises(FailpointError):
        world.run()
    verdict = verify(world.config())
    assert verdict.unexplained == 0, verdict
    assert any("a load was interrupted" in note for note in verdict.notes)
    world.run()
    assert verify(world.config()).compared == ("parquet", "duckdb", "snapshot")


@pytest.mark.parametrize("place", ["forget.buried", "archive.rewritten", "forget.rewritten", "forget.rebuilt"])
@pytest.mark.slow
def test_an_interrupted_forgetting_is_finished_by_a_run(world, place):
    """Verify names what is still there and `pipeline run`; it never sends anybody to a backup."""
    with failpoints.armed(f"{place}=raise"), pytest.raises(FailpointError):
        forget(world.config(), ids=[world.ids[1]])
    assert {problem.repair for problem in verify(world.config()).problems} <= {"pipeline run"}
    world.run()
    assert verify(world.config()).unexplained == 0


@pytest.mark.slow
def test_a_segment_of_before_that_came_back_is_forgotten_again(world):
    """A backup restored over a segment that was rewritten brings a forgotten id back; a command takes it out again."""
    path = world.folder.archive / "prod" / "00000001.parquet"
    before = path.read_bytes()
    forget(world.config(), ids=[world.ids[1]])
    path.write_bytes(before)
    verdict = verify(world.config())
    assert "forgotten-held" in kinds(verdict)
    assert {problem.repair for problem in verdict.problems if problem.kind == "forgotten-held"} == {
        "pipeline rebuild ledger"
    }
    repair(world.config(), "ledger")
    assert verify(world.config()).unexplained == 0
    assert world.ids[1] not in versions(world.archive())


@pytest.mark.slow
def test_files_that_are_not_ours_are_named(world):
    """A stray file in the archive or among the blobs is told with its name."""
    (world.folder.archive / "prod" / "notes.txt").write_text("x")
    (world.folder.blobs / "x").write_text("x")
    told = {problem.where for problem in verify(world.config()).problems}
    assert told == {str(world.folder.archive / "prod" / "notes.txt"), str(world.folder.blobs / "x")}


def test_a_source_that_cannot_be_asked_hides_nothing(world):
    """With the server away the inside is told all the same, and the code says that the source was not asked."""
    world.server.__exit__()
    verdict = verify(world.config(), against_api=True)
    assert (verdict.exit_code, verdict.unexplained, len(verdict.compared)) == (75, 0, 3)
    assert verdict.refused[0].source == "prod"
    with pytest.raises(UsageError, match="nothing to verify"):
        verify(world.config(), inside=False)
    world.server.__init__(world.store)
    world.server.__enter__()
