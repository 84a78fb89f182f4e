"""Delta tables keep the promise of a destination, whoever else writes there, and are read by others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import duckdb
import pytest

from pipeline import failpoints
from pipeline.errors import ConfigError, FolderError, RefusedError, TryAgainError
from pipeline.failpoints import FailpointError
from pipeline.schema import TABLES
from tests import s3
from tests.s3 import server  # noqa: F401 - a fixture

from .conformance import ROOT, Conformance
from .made import DAY, TENTH, Memory, Source, Version, example, in_order

pytest.importorskip("deltalake", reason="deltalake is not here: `make test-all` runs these tests in .venv-delta")

from deltalake import DeltaTable, write_deltalake

from pipeline.load import delta, rewrite
from pipeline.load.delta import DeltaDestination, connect
from pipeline.load.place import Place


class TestDelta(Conformance):
    """The conformance suite on a folder of real Delta tables."""

    failpoints = ("delta.written", "delta.committed", "files.renamed")

    def open(self, folder):
        return DeltaDestination(self.place(folder))

    def place(self, folder):
        return Place(str(folder / "delta"), connect, is_ours=True, scratch=folder / ".writer")

    def table(self, folder, name="completions"):
        place = self.place(folder)
        return DeltaTable(place.uri(name), storage_options=dict(place.options) or None)

    def contents(self, folder):
        place = self.place(folder)
        return {name: in_order(rows_of(place.uri(name), name, place.options)) for name in TABLES}

    def check_stopped(self, contents, before, after):
        """Find each table as before or as after it, and new completions only with all that belongs to them."""
        assert all(contents[name] in (before[name], after[name]) for name in TABLES)
        assert contents == after or contents["completions"] == before["completions"]


class TestDeltaElsewhere(TestDelta):
    """The same on a folder that others may write to as well."""

    stride = 4

    def place(self, folder):
        return Place(str(folder / "delta"), connect)


@pytest.mark.slow
@pytest.mark.skipif(s3.program() is None, reason="no SeaweedFS here: `make test-all` runs these tests in .venv-delta")
class TestDeltaOnAServer(TestDelta):
    """The same on a real S3-compatible server."""

    test_failure_at_every_step = test_kill_at_every_step = test_disk_full = None  # they copy the folder

    @pytest.fixture(autouse=True)
    def _reached(self, server):  # noqa: F811 - pytest hands it in
        type(self).options = server

    def place(self, folder):
        root = "-".join(str(folder).split("/")[-2:])
        return Place(f"s3://{s3.BUCKET}/{root}", connect, options=self.options)


def rows_of(root, name, options=None):
    """Read the newest version of a table as another program would; what is not there holds nothing."""
    told = dict(options or {}) or None
    if not DeltaTable.is_deltatable(str(root), told):
        return []
    table = DeltaTable(str(root), storage_options=told).to_pyarrow_dataset().to_table()
    return table.select(TABLES[name].columns.names).cast(TABLES[name].columns).to_pylist(maps_as_pydicts="strict")


@pytest.fixture(params=["folder", pytest.param("server", marks=pytest.mark.slow)])
def suite(request, server):  # noqa: F811 - pytest hands it in
    """Hand out the suite of a place that several write to."""
    if request.param == "folder":
        return TestDeltaElsewhere()
    if s3.program() is None:
        pytest.skip("no SeaweedFS here")
    TestDeltaOnAServer.options = server
    return TestDeltaOnAServer()


# -- several writers ------------------------------------------------------------------------------------------------


def at_once(suite, folder, *stories):
    """Let each story, a list of loads, be loaded by a writer of its own, load beside load."""
    barrier = Barrier(len(stories))

    def write(story):
        destination = suite.open(folder)
        for batches in story:
            barrier.wait(60)
            destination.load(batches)
            destination.settle()

    with ThreadPoolExecutor(len(stories)) as pool:
        list(pool.map(write, stories))


def test_two_writers_of_the_same_segments(suite, tmp_path):
    """Of two that load the same segments at the same time one wins each: nothing is lost, nothing is there twice."""
    base, later = suite.story()
    story = [base, later[:1], later[1:]]
    at_once(suite, tmp_path, story, story)
    model = Memory()
    for batches in story:
        model.load(batches)
    assert suite.open(tmp_path).bookmarks() == model.bookmarks()
    assert suite.contents(tmp_path) == model.contents()


def test_two_writers_of_different_sources(suite, tmp_path):
    """Two that load different sources at the same time, from the first table on, disturb each other in nothing."""
    stories = []
    for name in ("one", "two"):
        source = Source(name)
        stories.append([[source.batch(example(text=text), Version(text))] for text in ("a", "b", "c")])
    at_once(suite, tmp_path, *stories)
    model = Memory()
    for batches in (*stories[0], *stories[1]):
        model.load(batches)
    assert suite.open(tmp_path).bookmarks() == {"one": 3, "two": 3}
    assert suite.contents(tmp_path) == model.contents()


def overtaking(monkeypatch, act, times=1):
    """Let something happen between the working out of a commit and the commit, some times."""
    left, acting = [times], []

    def reach(name):
        if name == "delta.written" and left[0] and not acting:
            left[0] -= 1
            acting.append(True)
            act()
            acting.clear()

    monkeypatch.setattr(delta, "reach", reach)


@pytest.mark.parametrize("names", [("prod", "prod"), ("prod", "other")])
def test_another_is_first(tmp_path, monkeypatch, names):
    """A writer that is overtaken at every table looks again: nothing is left to do, or its own rows come after."""
    suite = TestDeltaElsewhere()
    one, two = map(Source, names)
    loads = [[source.batch(example(), Version("b"))] for source in (one, two)]
    later = [[source.batch(example(text="edited"))] for source in (one, two)]
    suite.load(tmp_path, *loads)
    other = iter(range(len(TABLES)))

    def first():
        name = [*delta._ORDER][next(other)]
        delta._take_on(suite.open(tmp_path)._tables[name], later[1], {}, {})

    overtaking(monkeypatch, first, len(TABLES))
    suite.both(tmp_path, *loads, *([later[0]] if one.name == two.name else later))


def test_others_are_first_all_the_time(tmp_path, monkeypatch):
    """A writer that always comes too late gives up with 75 and says where, and what was there is there."""
    suite, source, other = TestDeltaElsewhere(), Source(), Source("other")
    suite.load(tmp_path, [source.batch(example())])
    before = suite.contents(tmp_path)
    busy = suite.open(tmp_path)
    real = delta._Table.commit

    def commit(table, coming, going, bookmarks):
        if "prod" in bookmarks:
            monkeypatch.setattr(delta._Table, "commit", real)
            busy.load([other.batch()])
            monkeypatch.setattr(delta._Table, "commit", commit)
        real(table, coming, going, bookmarks)

    monkeypatch.setattr(delta._Table, "commit", commit)
    monkeypatch.setattr(delta, "ATTEMPTS", 3)
    with pytest.raises(TryAgainError, match=r"others wrote 3 versions of .*/choices"):
        suite.open(tmp_path).load([source.batch(example(text="edited"))])
    monkeypatch.undo()
    after = suite.contents(tmp_path)
    assert [row for row in after["completions"] if row["source"] == "prod"] == before["completions"]
    assert suite.open(tmp_path).bookmarks() == {"prod": 1, "other": 3}


@pytest.mark.parametrize("is_between", [True, False])
def test_another_program_compacts(tmp_path, monkeypatch, is_between):
    """OPTIMIZE by another program, before a load or in the middle of it, costs no row and makes none twice."""
    monkeypatch.setattr(rewrite, "SMALL", 1)
    suite, one, two = TestDeltaElsewhere(), Source("one"), Source("two")
    loads = [[one.batch(example())], [two.batch(example())], [one.batch(Version("b"), gone=["chatcmpl-1"])]]
    last = [one.batch(example(text="edited"), Version("b", TENTH + DAY))]
    suite.load(tmp_path, *loads)

    def compact():
        assert suite.table(tmp_path).optimize.compact()["numFilesAdded"] == 1

    if is_between:
        at_completions = [name for name in TABLES if name != "completions"]
        overtaking(monkeypatch, lambda: None if at_completions and at_completions.pop() else compact(), len(TABLES))
    else:
        compact()
    suite.both(tmp_path, *loads, last)
    assert suite.open(tmp_path).bookmarks() == {"one": 3, "two": 1}


def test_another_program_adds_rows(tmp_path):
    """Rows that another program appends, of any source, stay where no load replaces them, also through a rebuild."""
    suite, source = TestDeltaElsewhere(), Source("one")
    batches = [source.batch(example()), source.batch(Version("b"), example(text="edited"))]
    suite.load(tmp_path, batches[:1])
    table = suite.table(tmp_path)
    theirs = table.to_pyarrow_dataset().to_table()
    position = theirs.column_names.index("source")
    theirs = theirs.set_column(position, theirs.schema.field("source"), [["of others"]])
    write_deltalake(table, theirs, mode="append")
    suite.load(tmp_path, batches[1:])
    anew = DeltaDestination(suite.place(tmp_path), anew=True)
    anew.load(batches)
    anew.take_place()
    found = [(row["source"], row["id"]) for row in suite.contents(tmp_path)["completions"]]
    assert sorted(found) == [("of others", "chatcmpl-1"), ("one", "b"), ("one", "chatcmpl-1")]


@pytest.mark.parametrize("what", ["load", "staged"])
def test_forgetting_leaves_what_others_are_about_to_commit(suite, tmp_path, monkeypatch, what):
    """The end of one folder's forgetting costs no file that another folder wrote and has not committed yet."""
    one, two = Source("one"), Source("two")
    loads = [[source.batch(example())] for source in (one, two)]
    suite.load(tmp_path, *loads)

    def purge():
        suite.open(tmp_path).purge(["one"])

    if what == "load":
        loads.append([two.batch(Version("b"))])
        overtaking(monkeypatch, purge, len(TABLES))
        suite.both(tmp_path, *loads)
        return
    anew, model = DeltaDestination(suite.place(tmp_path), anew=True), Memory()
    anew.load(loads[1])
    purge()
    anew.take_place()
    for batches in loads:
        model.load(batches)
    assert suite.contents(tmp_path) == model.contents()


def upgraded(suite, folder, batches, *, logprobs):
    """Make the tables of a place anew, as a run does that finds them of another layout."""
    assert DeltaDestination(suite.place(folder), logprobs=logprobs).is_outdated
    anew = DeltaDestination(suite.place(folder), logprobs=logprobs, anew=True)
    anew.load(batches)
    return anew


def test_bookmarks_go_with_their_rows(suite, tmp_path):
    """Tables that were emptied twice, and have their layout back, hold nothing of a source until its rows are back."""
    one, two = Source("one"), Source("two")
    ones, twos = [one.batch(example())], [two.batch(example()), two.batch(Version("b"))]
    suite.load(tmp_path, ones, twos)
    for logprobs in (True, False):
        upgraded(suite, tmp_path, ones, logprobs=logprobs).take_place()
    assert suite.open(tmp_path).bookmarks() == {"one": 1}
    suite.both(tmp_path, ones, [*twos, two.batch(Version("c"))])


def test_two_upgrade_at_once(tmp_path, monkeypatch):
    """A folder that empties tables which another has just made anew leaves no bookmark of rows that are gone."""
    suite, one, two = TestDeltaElsewhere(), Source("one"), Source("two")
    loads = [[source.batch(example())] for source in (one, two)]
    suite.load(tmp_path, *loads)
    first, second = (upgraded(suite, tmp_path, batches, logprobs=True) for batches in loads)
    real = delta._Table._make

    def make(table):
        monkeypatch.setattr(delta._Table, "_make", real)
        first.take_place()
        table._make()

    monkeypatch.setattr(delta._Table, "_make", make)
    second.take_place()
    later, model = DeltaDestination(suite.place(tmp_path), logprobs=True), Memory()
    assert later.bookmarks() == {"two": 1}
    for batches in loads:
        later.load(batches)
        model.load(batches)
    assert suite.contents(tmp_path) == model.contents()


def test_a_killed_way_back_to_a_layout(tmp_path, monkeypatch):
    """Killed between emptying a table and its commit, a return to an older layout is finished by the next run."""
    suite, source = TestDelta(), Source()
    batches = [source.batch(example()), source.batch(Version("b"))]
    suite.load(tmp_path, batches)
    upgraded(suite, tmp_path, batches, logprobs=True).take_place()
    anew, real = upgraded(suite, tmp_path, batches, logprobs=False), delta._Table._make

    def make(table):
        real(table)
        if table.name == "completions":
            raise FailpointError("delta")

    monkeypatch.setattr(delta._Table, "_make", make)
    with pytest.raises(FailpointError):
        anew.take_place()
    monkeypatch.undo()
    assert suite.open(tmp_path).bookmarks() == {}
    suite.both(tmp_path, batches)


@pytest.mark.parametrize("how", ["emptied", "removed", "made again"])
@pytest.mark.parametrize("told", ["before", "by a load"])
def test_a_table_that_goes_during_a_run(tmp_path, how, told):
    """A run whose table is emptied, removed or made again meanwhile ends with 75, and the next one loses nothing."""
    suite, one, two = TestDeltaElsewhere(), Source("one"), Source("two")
    batches = [one.batch(Version(name)) for name in "abc"]
    others = [two.batch(example())]
    running = suite.open(tmp_path)
    if told == "before":
        suite.load(tmp_path, batches[:1], batches[1:2])
        assert running.bookmarks() == {"one": 2}
    else:
        assert running.bookmarks() == {}
        running.load(batches[:2])
    if how == "emptied":
        DeltaDestination(suite.place(tmp_path), logprobs=True).load(others)
    else:
        shutil.rmtree(tmp_path / "delta" / "completions")
    if how == "made again":
        suite.load(tmp_path, others)
    with pytest.raises(TryAgainError, match=r"/(choices|completions) was emptied or removed while one was loaded"):
        running.load(batches[2:])
    if how == "emptied":
        upgraded(suite, tmp_path, batches, logprobs=False).take_place()
    suite.both(tmp_path, batches, others)


def said_in(place, *names):
    """Return by file, whatever version refers to it, what is in the data files of some tables, or of all."""
    found = {}
    for name in names or TABLES:
        for path in place.data_files(name):
            with place.opened(name, path) as opened:
                found[name, path] = str(opened.read().to_pylist())
    return found


def test_what_others_compacted_is_forgotten(suite, tmp_path, monkeypatch):
    """Forgetting deletes what another program compacted too, where rows of ours are in it, once it is replaced."""
    monkeypatch.setattr(rewrite, "SMALL", 1)
    one, two = Source("one"), Source("two")
    loads = [[one.batch(example(text="needle"))], [one.batch(Version("b"))], [two.batch(Version("c"))]]
    suite.load(tmp_path, *loads)

    def compact():
        for name in TABLES:
            suite.table(tmp_path, name).optimize.compact()

    compact()
    suite.load(tmp_path, [one.batch(example(text="needle again"))])  # a mixed file of ours
    anew = DeltaDestination(suite.place(tmp_path), anew=True)
    rewritten, model = Source("one"), Memory()
    for batches in ([rewritten.batch()], [rewritten.batch(Version("b"))], [rewritten.batch()]):
        anew.load(batches)
        model.load(batches)
    model.load(loads[2])
    anew.take_place()
    place = suite.place(tmp_path)
    assert "needle" in "".join(said_in(place).values())
    newest = next(
        path for (_, path), said in said_in(place, "completions").items() if "'b'" in said and "needle" not in said
    )
    with place.opened("completions", newest) as opened:
        place.write("completions", "created_date=2026-01-10/part-about-to-be-committed.parquet", opened.read(), ())
    suite.open(tmp_path).purge(["one"])
    assert any("about-to-be" in path for _, path in said_in(place))
    assert "needle" not in "".join(said_in(place).values())
    assert suite.contents(tmp_path) == model.contents()


@pytest.mark.parametrize("how", ["purged", "loaded"])
def test_what_a_killed_write_left_goes(tmp_path, how):
    """A temp file that a killed write left is removed by forgetting, by a load once it is old, and only ours."""
    suite, source = TestDeltaElsewhere(), Source()
    assert suite.in_another_process(tmp_path, "load_later", {failpoints.VARIABLE: "files.written=kill"})
    (left,) = (tmp_path / "delta" / "_temp").iterdir()
    theirs = left.with_name(left.name.replace("prod", "other"))
    theirs.touch()
    suite.load(tmp_path, [source.batch(example())])
    assert left.exists()  # another writer of the same source may be about to rename it
    if how == "purged":
        suite.open(tmp_path).purge(["prod"])
    else:
        for path in (left, theirs):
            os.utime(path, (0, 0))
        suite.load(tmp_path, [source.batch(Version("b"))])
    assert list(theirs.parent.iterdir()) == [theirs]


# -- what lies there --------------------------------------------------------------------------------------------------


def test_it_is_partitioned_described_and_says_no_content(tmp_path):
    """Each table is partitioned by date, has its sentences where others look for them, and statistics of no content."""
    suite, source = TestDelta(), Source()
    suite.load(tmp_path, [source.batch(example(text="needle"), Version("b", TENTH + DAY))])
    for name, declared in TABLES.items():
        table = suite.table(tmp_path, name)
        assert (table.metadata().partition_columns, table.metadata().description) == (
            ["created_date"],
            declared.description,
        )
        assert all(field.metadata["comment"] for field in table.schema().fields)
    told = suite.table(tmp_path).get_add_actions(flatten=True)
    assert {name for name in told.column_names if name.startswith(("min.", "max."))} == {"min.source", "max.source"}
    log = "".join(path.read_text() for path in (tmp_path / "delta").glob("*/_delta_log/*.json"))
    assert "needle" not in log
    assert "chatcmpl" not in log


def test_completions_come_last(tmp_path):
    """A load that ends before its last commit has changed every table but completions."""
    suite, source, model = TestDelta(), Source(), Memory()
    batches = [source.batch(example()), source.batch(example(text="edited"), Version("b", messages=1))]
    suite.load(tmp_path, batches[:1])
    before = suite.contents(tmp_path)
    for batch in batches:
        model.load([batch])
    with failpoints.armed(f"delta.written=raise:{len(TABLES)}"), pytest.raises(FailpointError):
        suite.load(tmp_path, batches[1:])
    assert suite.contents(tmp_path) == model.contents() | {"completions": before["completions"]}
    assert suite.open(tmp_path).bookmarks() == {"prod": 1}


def test_small_files_take_new_rows_in(tmp_path):
    """Many loads into one date leave one file, up to a size; a night that touches nothing of a date leaves its file."""
    suite, source = TestDelta(), Source()
    suite.load(tmp_path, [source.batch(Version("a")), source.batch(Version("z", TENTH + DAY))])
    before = suite.table(tmp_path).file_uris(file_pruning_predicate="created_date = '2026-01-11'")
    suite.load(tmp_path, *([source.batch(Version(f"b{n}"))] for n in range(5)))
    assert suite.table(tmp_path).file_uris(file_pruning_predicate="created_date = '2026-01-11'") == before
    assert len(suite.table(tmp_path).file_uris()) == 2


def test_dates_of_many_files(tmp_path, monkeypatch):
    """Versions, messages and closings are found in whichever of a date's files they are."""
    monkeypatch.setattr(rewrite, "SMALL", 1)
    suite, source = TestDelta(), Source()
    loads = [[source.batch(Version(f"id-{n}", calls=1), example(text=str(n), messages=2))] for n in range(4)]
    loads += [[source.batch(Version("id-1"), gone=["id-2"])], [source.batch(fetched={"id-0": 3})]]
    suite.both(tmp_path, *loads)
    assert len(suite.table(tmp_path).file_uris()) > 2


def test_old_files_go_after_their_time(tmp_path):
    """What no version refers to any more is deleted when the table's retention is over, and not before."""
    suite, source = TestDelta(), Source()
    suite.load(tmp_path, *([source.batch(Version(f"b{n}"))] for n in range(3)))
    destination = suite.open(tmp_path)
    destination.load([source.batch()])
    destination.settle()
    assert len(suite.place(tmp_path).data_files("completions")) == 3
    told = {"delta.deletedFileRetentionDuration": "interval 0 seconds"}
    suite.table(tmp_path).alter.set_table_properties(told)
    destination.load([source.batch(Version("c"))])
    destination.settle()
    assert len(suite.place(tmp_path).data_files("completions")) == 1


@pytest.mark.parametrize("damage", ["cut", "emptied", "lost", "garbage"])
def test_a_damaged_log(tmp_path, damage):
    """A log that is damaged, as a loss of power may leave it, is noticed, and what it held is loaded again."""
    suite, source = TestDelta(), Source()
    batches = [source.batch(example()), source.batch(example(text="edited"))]
    suite.load(tmp_path, *([batch] for batch in batches))
    last = max((tmp_path / "delta" / "completions" / "_delta_log").glob("*.json"))
    whole = last.read_bytes()
    {
        "cut": lambda: last.write_bytes(whole[: len(whole) // 2]),
        "emptied": lambda: last.write_bytes(b""),
        "lost": lambda: shutil.rmtree(last.parent),
        "garbage": lambda: last.write_bytes(b"\0" * len(whole)),
    }[damage]()
    assert suite.open(tmp_path).bookmarks() in ({}, {"prod": 1})
    suite.both(tmp_path, batches)


def test_a_damaged_log_of_several_folders(tmp_path):
    """In a place of several data folders a damaged log is told with 78, in one plain line; removed, all comes back."""
    suite, sources = TestDeltaElsewhere(), [Source("one"), Source("two")]
    loads = [[source.batch(example())] for source in sources]
    suite.load(tmp_path, *loads)
    table = tmp_path / "delta" / "completions"
    max((table / "_delta_log").glob("*.json")).write_bytes(b"\0" * 100)
    for anew in (False, True):
        with pytest.raises(FolderError) as caught:
            DeltaDestination(suite.place(tmp_path), anew=anew).bookmarks()
        assert caught.value.message.startswith(f"delta: {table}/_delta_log is damaged: Kernel error: Json error: ")
        assert not re.search(r"[\x00-\x1f]|unknown", caught.value.message)
        assert f"remove {table}:" in caught.value.hint
    shutil.rmtree(table)
    suite.both(tmp_path, *loads)


@pytest.mark.parametrize("suite", [TestDelta(), TestDeltaElsewhere()], ids=["ours", "elsewhere"])
def test_a_table_of_a_newer_protocol(tmp_path, suite):
    """A table with features that deltalake does not know is not taken for damaged: 78 says to install a newer one."""
    suite.load(tmp_path, [Source().batch(example())])
    log = tmp_path / "delta" / "completions" / "_delta_log"
    features = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["new"], "writerFeatures": ["new"]}
    (log / f"{len(list(log.glob('*.json'))):020}.json").write_text(json.dumps({"protocol": features}))
    with pytest.raises(ConfigError, match="features that this version does not know: Kernel error: Unsupported: "):
        suite.open(tmp_path).bookmarks()


def test_staged_tables_are_seen_when_they_are_whole(tmp_path):
    """What is made anew shows nothing until it takes its place, and then exactly that; what was staged twice goes."""
    suite, source = TestDelta(), Source()
    batches = [source.batch(example(), Version("b")), source.batch(example(text="edited"))]
    suite.load(tmp_path, batches)
    before = suite.contents(tmp_path)
    anew, model = DeltaDestination(suite.place(tmp_path), anew=True), Memory()
    assert anew.bookmarks() == {}
    for batch in [Source().batch(example(text="rewritten")), *batches[1:]]:
        anew.load([batch])
        model.load([batch])
    assert suite.contents(tmp_path) == before
    anew.take_place()
    assert suite.contents(tmp_path) == model.contents()
    suite.open(tmp_path).purge(["prod"])
    kept = {path.rpartition("/")[2] for path in suite.table(tmp_path).file_uris()}
    assert {path.rpartition("/")[2] for path in suite.place(tmp_path).data_files("completions")} == kept


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
def test_nothing_counts_before_it_is_durable(tmp_path):
    """Each data file is synced before a log entry names it, and each entry before the load returns."""
    code = (
        "import os, pathlib; from tests.load.test_delta import TestDelta, Source, example; suite = TestDelta()\n"
        "source = Source()\n"
        f"suite.load(pathlib.Path({str(tmp_path)!r}), [source.batch(example())]); os.stat('/loaded')"
    )
    call = ["strace", "-f", "-y", "-e", "trace=linkat,fsync,rename,stat,newfstatat", "-o", tmp_path / "trace"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*call, sys.executable, "-c", code], cwd=ROOT, env=environment, check=False, capture_output=True)
    seen = (tmp_path / "trace").read_text(encoding="utf-8", errors="replace").partition("/loaded")[0]
    synced, entries = [], []
    for line in seen.splitlines():
        if found := re.search(r"fsync\(\d+<([^>]+)>", line):
            synced.append(found[1])
        elif found := re.search(r'linkat\(.*"([^"]+/_delta_log/\d+\.json)"', line):
            entries.append((found[1], len(synced)))
    assert len(entries) == 2 * len(TABLES)
    for entry, when in entries:
        assert entry in synced[when:]
        log = entry.rpartition("/")[0]
        assert log in synced[when:]
        written = [path for path in synced if path.startswith(log.removesuffix("_delta_log")) and path != log]
        assert written or not when
    data = [path for path in synced[: entries[-1][1]] if path.endswith(".tmp")]
    assert len(data) == sum(1 for name in TABLES for _ in (tmp_path / "delta" / name).rglob("created_date=*/*.parquet"))


# -- readers ----------------------------------------------------------------------------------------------------------


def test_duckdb_reads_through_arrow(suite, tmp_path):
    """DuckDB reads a table without an extension, by what deltalake hands out, map and decimal and all."""
    suite.load(tmp_path, [Source().batch(example(more={"metadata": {"team": "search"}}), days={0: 2})])
    completions = suite.table(tmp_path).to_pyarrow_dataset()  # noqa: F841 - DuckDB finds it by its name
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = "SELECT id, metadata['team'], created_date::VARCHAR FROM completions"
        assert connection.execute(sql).fetchall() == [("chatcmpl-1", "search", "2026-01-10")]


def test_polars_reads_it(suite, tmp_path):
    """A table is read by polars alone, a single date as well."""
    polars = pytest.importorskip("polars")
    suite.load(tmp_path, [Source().batch(example(), Version("b", TENTH + DAY))])
    place = suite.place(tmp_path)
    frame = polars.scan_delta(place.uri("completions"), storage_options=dict(place.options) or None)
    assert frame.select("id").collect().rows() in ([("chatcmpl-1",), ("b",)], [("b",), ("chatcmpl-1",)])
    day = polars.date(2026, 1, 11)
    assert frame.filter(polars.col("created_date") == day).select("id").collect().rows() == [("b",)]


# -- a server that does not do as it should ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(s3.program() is None, reason="no SeaweedFS here")
def test_a_key_that_is_wrong_is_refused_and_not_told(server):  # noqa: F811 - pytest hands it in
    """77 says where, and neither the message nor the cause repeats the key."""
    wrong = "a-secret-that-is-wrong"
    place = Place(f"s3://{s3.BUCKET}/tables", connect, options={**server, "aws_secret_access_key": wrong})
    with pytest.raises(RefusedError, match=r"destinations\.delta_options") as caught:
        DeltaDestination(place).bookmarks()
    assert wrong not in f"{caught.value} {caught.value.__cause__} {place!r}"


def test_a_server_that_is_down_is_asked_again_later():
    """75 says which place could not be reached, in words without colours."""
    (port,) = s3.free_ports(1)
    told = {"aws_endpoint": f"http://127.0.0.1:{port}", "aws_allow_http": "true", "aws_region": "x"}
    told |= {"aws_access_key_id": "x", "aws_secret_access_key": "x", "max_retries": "1", "retry_timeout": "1s"}
    with pytest.raises(TryAgainError, match=r"s3://bucket/tables: .*Connection refused") as caught:
        DeltaDestination(Place("s3://bucket/tables", connect, options=told)).bookmarks()
    assert "\x1b" not in caught.value.message


def test_what_another_one_is_writing_into_the_log_is_let_be(tmp_path):
    """A file of delta-rs that is not in its place yet is another program's, and may be gone at any moment."""
    log = tmp_path / "delta" / "completions" / "_delta_log"
    log.mkdir(parents=True)
    gone = log / "00000000000000000001.json#1"
    gone.symlink_to(tmp_path / "gone")  # listed, and no file is there
    place = Place(str(tmp_path / "delta"), connect, is_ours=True, scratch=tmp_path / ".writer")
    place.settle("completions", 0)
    assert gone.is_symlink()
