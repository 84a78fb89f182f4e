"""The snapshot: readers see a whole one at any moment, the newest when they open it, and disturb nobody."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline import failpoints
from pipeline.errors import FolderInUseError
from pipeline.failpoints import FailpointError
from pipeline.load.duckdb import DuckDBDestination
from pipeline.load.reading import connect
from pipeline.load.snapshot import PublishResult, _show, publish

from .made import Source, Version


class House:
    """A data folder with a writer's file and a snapshot."""

    def __init__(self, folder):
        self.folder = folder
        self.writer = folder / ".writer" / "writer.duckdb"
        self.snapshot = folder / "warehouse.duckdb"
        self.versions = folder / ".published"
        self.source = Source()

    def load(self):
        destination = DuckDBDestination(self.writer)
        destination.load([self.source.batch(Version(f"{self.source.segment}"))])
        destination.close()

    def publish(self, **how):
        return publish(
            self.writer, self.snapshot, versions=self.versions, scratch=self.folder / ".writer" / "scratch", **how
        )

    def load_and_publish(self):
        self.load()
        return self.publish()


@pytest.fixture
def house(tmp_path):
    """Make a data folder with one completion published."""
    house = House(tmp_path)
    assert house.load_and_publish() == PublishResult(published=True)
    return house


COUNT = "SELECT count(*) AS n FROM completions"


def files(house):
    """List what is published: names that lead elsewhere hold nothing."""
    return [path for path in sorted(house.versions.rglob("*.duckdb")) if not path.is_symlink()]


def count(path):
    with contextlib.closing(duckdb.connect(path, read_only=True)) as connection:
        return connection.execute(COUNT).fetchall()[0][0]


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_plain_duckdb_opens_it(house):
    """The snapshot needs no pipeline: plain DuckDB opens it, tables, views and all."""
    with contextlib.closing(duckdb.connect(house.snapshot, read_only=True)) as connection:
        assert connection.execute(COUNT).fetchall() == [(1,)]
        assert connection.execute("SELECT requests FROM usage_by_model").fetchall() == [(1,)]


def test_mode_and_company(house):
    """The snapshot is read-only, and nothing lies beside it or is left in the scratch folder."""
    assert house.snapshot.stat().st_mode & 0o777 == 0o440
    assert {path.name for path in house.folder.iterdir()} == {".writer", ".published", "warehouse.duckdb"}
    assert [path.name for path in house.versions.rglob("*")] == ["1", "warehouse.duckdb"]
    assert {path.name for path in house.writer.parent.rglob("*")} == {"scratch", "writer.duckdb"}


def test_nothing_new(house):
    """Where readers would see nothing new the snapshot stays the very file it was."""
    before = house.snapshot.resolve()
    assert house.publish() == PublishResult(published=False)
    assert house.snapshot.resolve() == before


def test_new_views(house):
    """A snapshot whose views another version made is published anew, although it holds the same rows."""
    with contextlib.closing(duckdb.connect(house.writer)) as connection:
        connection.execute("CREATE VIEW another AS SELECT 1 AS one")
    assert house.publish().published


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"?" * 100_000)])
def test_snapshot_lost_or_damaged(house, damage):
    """A snapshot that is missing or unreadable is published again."""
    house.snapshot.chmod(0o600)
    damage(house.snapshot)
    assert house.publish().published
    assert count(house.snapshot) == 1


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_open_reader(house):
    """An open connection keeps its view; a new one of the same process sees the newer snapshot."""
    with contextlib.closing(connect(house.snapshot)) as old:
        house.load_and_publish()
        with contextlib.closing(connect(house.snapshot)) as new:
            assert new.execute(COUNT).fetchall() == [(2,)]
            house.load_and_publish()
            assert (old.execute(COUNT).fetchall(), new.execute(COUNT).fetchall()) == ([(1,)], [(2,)])
            with contextlib.closing(connect(house.snapshot)) as newest:
                assert newest.execute(COUNT).fetchall() == [(3,)]


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_plain_reader_of_the_same_process(house):
    """Somebody's plain connection in this process hinders neither publishing nor connecting."""
    with contextlib.closing(duckdb.connect(house.snapshot, read_only=True)) as plain:
        assert house.load_and_publish().published
        assert house.publish() == PublishResult(published=False)
        with contextlib.closing(connect(house.snapshot)) as new:
            assert new.execute(COUNT).fetchall() == [(2,)]
        assert plain.execute(COUNT).fetchall() == [(1,)]


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_log_of_a_killed_run(house):
    """What a killed run committed but left in the writer's log is in the snapshot."""
    code = (
        "import os, duckdb; from pathlib import Path; from pipeline.load.duckdb import DuckDBDestination as D\n"
        f"d = D(Path({str(house.writer)!r})); d._connection.execute(\"INSERT INTO bookmarks VALUES ('other', 7)\")\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert house.writer.with_name("writer.duckdb.wal").exists()
    assert house.publish().published
    with contextlib.closing(connect(house.snapshot)) as connection:
        assert connection.execute("SELECT segment FROM bookmarks ORDER BY source").fetchall() == [(7,), (1,)]


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_leftover_log(house):
    """A log that somebody's writing left beside the snapshot is kept elsewhere and told, each time."""
    for n, beside in ((1, house.snapshot), (2, house.snapshot.resolve().parents[1] / "2" / "warehouse.duckdb")):
        leftover = beside.with_name("warehouse.duckdb.wal")
        leftover.write_bytes(b"somebody's rows %d" % n)
        house.load()
        result = house.publish()
        assert result == PublishResult(published=True, leftovers=(house.writer.parent / f"warehouse.duckdb.wal.{n}",))
        assert result.leftovers[0].read_bytes() == b"somebody's rows %d" % n
        assert not leftover.exists()
    assert count(house.snapshot) == 3


@pytest.mark.both_duckdbs
def test_what_was_published_before(house):
    """Who has looked the name up opens what it then meant until the next run, then the newest, and at last nothing."""
    first = house.snapshot.resolve()
    house.load_and_publish()
    assert (count(first), count(house.snapshot)) == (1, 2)
    first.with_name("warehouse.duckdb.wal").write_bytes(b"somebody's rows")
    (leftover,) = house.publish().leftovers
    assert leftover.read_bytes() == b"somebody's rows"
    assert (count(first), count(house.snapshot)) == (2, 2)
    assert house.publish() == PublishResult(published=False)
    assert not first.parent.exists()
    assert count(house.snapshot) == 2


def test_what_cannot_be_removed_yet(house, monkeypatch):
    """A reader elsewhere may keep a name from being removed: what it meant is gone all the same."""

    def busy(*_):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    monkeypatch.setattr("pipeline.load.snapshot.remove", busy)
    for number in (2, 3, 4):
        house.load()
        house.publish(forgets=number == 4)
    assert files(house) == [house.versions / "4" / "warehouse.duckdb"]
    assert count(house.versions / "1" / "warehouse.duckdb") == 4


def test_nothing_stays_where_something_was_forgotten(house):
    """What was published before goes with publishing, and what a killed one left; its name leads to the newest."""
    first = house.snapshot.resolve()
    (house.versions / "7").mkdir()
    (house.versions / "7" / "warehouse.duckdb").write_bytes(b"half")
    house.load()
    assert house.publish(forgets=True).published
    assert files(house) == [house.versions / "8" / "warehouse.duckdb"]
    assert (count(first), count(house.snapshot)) == (2, 2)


def test_a_folder_that_was_copied_without_links(house):
    """A file in the place of the link, of a former version or of a copy, is the snapshot until the next one."""
    content = house.snapshot.read_bytes()
    house.snapshot.unlink()
    house.snapshot.write_bytes(content)
    assert house.publish() == PublishResult(published=False)
    assert count(house.snapshot) == 1
    assert house.load_and_publish().published
    assert count(house.snapshot) == 2


def test_a_file_system_without_links(house, monkeypatch):
    """There the snapshot is a plain file, replaced by a rename."""

    def unable(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", unable)
    assert house.load_and_publish().published
    assert not house.snapshot.is_symlink()
    assert count(house.snapshot) == 2


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_writer_in_use(house):
    """While another process has the writer's file open nothing is published."""
    code = f"import duckdb; held = duckdb.connect({str(house.writer)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(FolderInUseError):
            house.publish()
        holder.communicate(b"\n")


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["snapshot.checkpointed", "snapshot.copied", "files.written", "files.renamed", "snapshot.renamed"]
)
def test_failure_at_every_step(house, monkeypatch, name):
    """Publishing that fails anywhere leaves the old snapshot or the new one, whole; the next one heals it."""
    house.load()
    monkeypatch.setattr(failpoints, "_plan", {name: ("raise", 1)})
    monkeypatch.setattr(failpoints, "_passed", {})
    with pytest.raises(FailpointError):
        house.publish()
    monkeypatch.undo()
    assert count(house.snapshot) in {1, 2}
    assert not list((house.folder / ".writer" / "scratch").iterdir())
    house.publish()
    assert count(house.snapshot) == 2


POLL = """
import contextlib, duckdb, pathlib, sys
seen, print_ready, stop = 0, True, pathlib.Path(sys.argv[2])
while True:
    last = stop.exists()
    with contextlib.closing(duckdb.connect(sys.argv[1], read_only=True)) as connection:
        counts = "SELECT count(*) AS n, count(DISTINCT id) AS d FROM completions"
        rows, distinct = connection.execute(counts).fetchall()[0]
        segment = connection.execute("SELECT segment FROM bookmarks").fetchall()[0][0]
    assert rows == distinct == segment >= seen, (rows, distinct, segment, seen)
    seen = rows
    if print_ready:
        print(flush=True)
        print_ready = False
    if last:
        break
print(seen)
"""


@pytest.mark.slow
def test_polling_readers(house):
    """Two processes that open the snapshot without pause see no error, no torn view, and never an older one again."""
    stop = house.folder / "stop"
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", POLL, house.snapshot, stop]
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)) for _ in range(2)]
        for reader in readers:
            reader.stdout.readline()
        for _ in range(40):
            house.load_and_publish()
        stop.touch()
        answers = [reader.communicate()[0] for reader in readers]
    assert [(reader.returncode, answer.strip()) for reader, answer in zip(readers, answers, strict=True)] == [
        (0, b"41")
    ] * 2


CONNECT = """
import contextlib, duckdb, pathlib, sys
from pipeline.load.reading import connect
stop = pathlib.Path(sys.argv[2])
print(flush=True)
while not stop.exists():
    for open_it in (connect, lambda path: duckdb.connect(path, read_only=True)):
        with contextlib.closing(open_it(pathlib.Path(sys.argv[1]))) as connection:
            (answer,) = connection.execute("SELECT count(*) FROM completions WHERE id != ''").fetchall()
            assert answer == (1,), answer
"""
#: Nothing being made durable this takes seconds, in which a reader meets the instant of publishing again and again.
TURNS = 20_000


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_readers_that_connect_while_another_file_is_published(house, monkeypatch):
    """Who connects at the very instant of publishing sees a whole snapshot, also where nothing lies where it lay."""
    other = house.folder / "other.duckdb"
    with contextlib.closing(duckdb.connect(other)) as connection:
        connection.execute(f"ATTACH '{house.writer}' AS old (READ_ONLY)")
        for number in range(50):  # so that all that is read first lies elsewhere
            connection.execute(f"CREATE TABLE filler_{number} AS SELECT hash(range) AS value FROM range(5000)")
        connection.execute("CREATE TABLE completions AS FROM old.completions")
    house.versions.joinpath("2").mkdir()
    targets = [house.versions / number / "warehouse.duckdb" for number in ("1", "2")]
    other.rename(targets[1])
    stop = house.folder / "stop"
    monkeypatch.setattr("pipeline.files.sync_folder", lambda _: None)
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", CONNECT, house.snapshot, stop]
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)) for _ in range(2)]
        for reader in readers:
            reader.stdout.readline()
        stack.callback(stop.touch)
        for turn in range(TURNS):
            _show(targets[turn % 2], house.snapshot, house.folder / ".writer" / "scratch")
    assert [reader.returncode for reader in readers] == [0, 0]


OTHER = os.environ.get("PIPELINE_OTHER_PYTHON", "")


@pytest.mark.both_duckdbs
@pytest.mark.skipif(not OTHER, reason="PIPELINE_OTHER_PYTHON names no interpreter with the other DuckDB")
def test_other_duckdb_opens_it(house):
    """The other supported DuckDB opens what this one wrote, reads each view, and goes on with what that one wrote."""
    reading = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(duckdb.__version__); "
    reading += "print(c.execute('SELECT requests FROM usage_by_model').fetchall()); "
    reading += "views = c.execute('SELECT view_name FROM duckdb_views() WHERE NOT internal').fetchall(); "
    reading += "[c.execute(f'FROM {view}').fetchall() for (view,) in views]"
    run = [OTHER, "-c"]
    told = subprocess.run([*run, reading, house.snapshot], capture_output=True, check=True, text=True).stdout.split()
    assert told[0] != duckdb.__version__
    assert told[1] == "[(1,)]"
    writing = "import sys; from pathlib import Path; from load.test_snapshot import House; from load.made import *\n"
    writing += "house = House(Path(sys.argv[1])); house.source.batch(Version('0')); print(house.load_and_publish())"
    root = Path(__file__).parents[2]
    paths = os.environ | {"PYTHONPATH": f"{root}:{root}/tests"}
    subprocess.run([*run, writing, house.folder], check=True, env=paths)
    assert count(house.snapshot) == 2
