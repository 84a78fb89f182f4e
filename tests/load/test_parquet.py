"""The Parquet dataset keeps the promise of a destination, and can be read at any moment."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import random
import shutil
import string

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints, files
from pipeline.failpoints import FailpointError
from pipeline.load import compare, merge, parquet
from pipeline.load.parquet import ParquetDestination
from pipeline.schema import CHOICES, LOGPROBS, TABLES, describe

from .conformance import Conformance
from .made import DAY, TENTH, Memory, Source, Version, example, in_order

PARTITIONS = ds.partitioning(pa.schema([("source", pa.string()), ("created_date", pa.date32())]), flavor="hive")


class TestParquet(Conformance):
    """The conformance suite on real files."""

    failpoints = ("files.renamed", "parquet.manifest")
    slow_failpoints = ("parquet.merged", "files.written", "files.synced")

    def open(self, folder):
        return ParquetDestination(folder / "parquet", folder / "scratch")

    def contents(self, folder):
        return {name: in_order(self.rows(folder / "parquet" / name, name)) for name in TABLES}

    def rows(self, folder, name):
        files = ds.dataset(folder, format="parquet", partitioning=PARTITIONS) if folder.exists() else None
        if not files or not files.files:
            return []
        return files.to_table(columns=TABLES[name].columns.names).to_pylist(maps_as_pydicts="strict")


@pytest.mark.slow
class TestParquetInParts(TestParquet):
    """The same where each file is full with its first row, so that a second that is later begins another one."""

    step = 1
    #: A process that is killed, or finds the disk full, does as above.
    test_kill_at_every_step = test_disk_full = None

    def open(self, folder):
        return open_in(folder, full=1)

    def begin(self, folder, batches):
        for batch in batches:
            self.load(folder, [batch])
        names = {path.name for path in files_of(folder)}
        assert {"data.parquet", "data-2.parquet", "data-3.parquet"} <= names


def open_in(folder, **modes):
    return ParquetDestination(folder / "parquet", folder / "scratch", **modes)


def files_of(folder):
    return sorted((folder / "parquet").rglob("*.parquet"))


def completions_of(folder, source="prod", date="2026-01-10"):
    return folder / "parquet" / "completions" / f"source={source}" / f"created_date={date}" / "data.parquet"


def test_duckdb_reads_it(tmp_path):
    """A plain DuckDB glob reads every table, with source and date from the folders' names."""
    source = Source()
    open_in(tmp_path).load([source.batch(example(), Version("b", TENTH + DAY), Version("c", None))])
    glob = f"{tmp_path}/parquet/completions/*/*/*.parquet"
    with contextlib.closing(duckdb.connect()) as connection:
        rows = connection.execute(
            "SELECT source, created_date, id FROM read_parquet(?, hive_partitioning = true) ORDER BY created_date",
            [glob],
        ).fetchall()
    assert rows == [
        ("prod", dt.date(1970, 1, 1), "c"),
        ("prod", dt.date(2026, 1, 10), "chatcmpl-1"),
        ("prod", dt.date(2026, 1, 11), "b"),
    ]


def one_row_of(table):
    """Make a row with what a table requires, and nothing else."""
    values = {"source": "prod", "completion_id": "chatcmpl-1", "created_date": dt.date(2026, 1, 10), "part": "content"}
    return pa.Table.from_pylist([{"choice_index": 0, "index": 0, "segment": 1} | values], schema=table.columns)


@pytest.mark.parametrize("name", TABLES)
def test_files_are_as_declared(tmp_path, name):
    """A file has the declared columns but those of the partition, with their sentences, in zstd and with statistics."""
    batch = Source().batch(example(messages=1), days={0: 1})
    batch.tables["logprobs"] = one_row_of(LOGPROBS)
    open_in(tmp_path).load([batch])
    (path,) = (tmp_path / "parquet" / name).rglob("*.parquet")
    declared = [field for field in TABLES[name].columns if field.name not in {"source", "created_date"}]
    with pq.ParquetFile(path) as file:
        assert file.schema_arrow.equals(pa.schema(declared))
        assert [describe(field) for field in file.schema_arrow] == [describe(field) for field in declared]
        column = file.metadata.row_group(0).column(0)
        assert (column.compression, column.is_stats_set) == ("ZSTD", True)


def test_only_columns_that_repeat_have_a_dictionary(tmp_path):
    """Ids, hashes and texts are written plainly, as they hardly repeat; models, roles and metadata are not."""
    source = Source()
    open_in(tmp_path).load([source.batch(*(example(id=f"chatcmpl-{number}") for number in range(20)))])
    found = {path: encodings for file in files_of(tmp_path) for path, encodings in encodings_of(file)}
    in_a_dictionary = {path for path, encodings in found.items() if "RLE_DICTIONARY" in encodings}
    assert {"model", "role", "metadata.key_value.key", "metadata.key_value.value"} <= in_a_dictionary
    assert found.keys() & merge._DISTINCT >= {"id", "completion_id", "content", "content_hash", "created"}
    assert not in_a_dictionary & merge._DISTINCT


def encodings_of(file):
    group = pq.read_metadata(file).row_group(0)
    columns = (group.column(number) for number in range(group.num_columns))
    return [(column.path_in_schema, column.encodings) for column in columns]


def test_columns_said_to_be_distinct_exist():
    """Each name is that of a column, in some table."""
    assert not merge._DISTINCT - {field.name for table in TABLES.values() for field in table.columns}


@pytest.fixture
def synced(tmp_path, monkeypatch):
    """Note, at each fsync of a folder, which folder it is, and which completions stand in which one by then."""
    seen = []
    sync = files.sync_folder

    def noted(path):
        seen.append((path, ids_by_folder(tmp_path)))
        sync(path)

    monkeypatch.setattr(files, "sync_folder", noted)
    return seen


def ids_by_folder(folder):
    paths = (folder / "parquet" / "completions").rglob("*.parquet")
    return {path.parent: sorted(pq.ParquetFile(path).read(["id"])["id"].to_pylist()) for path in paths}


def test_what_leaves_a_date_is_durable_before_it_comes_to_another(tmp_path, synced):
    """No loss of power may show a completion twice: its old place is synced before its new one is written."""
    source = Source()
    open_in(tmp_path).load([source.batch(Version("a", TENTH), Version("b", TENTH), Version("c", TENTH + DAY))])
    synced.clear()
    open_in(tmp_path).load([source.batch(Version("a", TENTH + DAY))])
    old, new = completions_of(tmp_path).parent, completions_of(tmp_path, date="2026-01-11").parent
    assert next(held for path, held in synced if path == old) == {old: ["b"], new: ["c"]}
    assert ids_by_folder(tmp_path) == {old: ["b"], new: ["a", "c"]}


def test_a_load_after_a_killed_one_makes_its_names_durable(tmp_path, synced, monkeypatch):
    """What a killed load renamed and made is synced by the next one, before the manifest tells of it."""
    source = Source()
    open_in(tmp_path).load([source.batch(Version("a", TENTH))])
    batch = source.batch(Version("a", TENTH + DAY), Version("b", TENTH + 2 * DAY))
    with monkeypatch.context() as dying:
        dying.setattr(parquet, "reach", fail_at("parquet.manifest"))
        dying.setattr(files, "sync_folder", lambda _: None)
        with pytest.raises(FailpointError):
            open_in(tmp_path).load([batch])
    synced.clear()
    open_in(tmp_path).load([batch])
    names = [path for path, _ in synced]
    dates = {completions_of(tmp_path, date=f"2026-01-{day}").parent for day in (10, 11, 12)}
    assert {path for path in dates if path.exists()} | {path.parent for path in dates} <= set(names)


def fail_at(place):
    def reach(name):
        if name == place:
            raise FailpointError(name)

    return reach


def test_rows_are_sorted(tmp_path, monkeypatch):
    """A file is sorted by created, NULL last, then id, however rows came and however small its row groups are."""
    monkeypatch.setattr(merge, "ROW_GROUP_BYTES", 1_000)
    source, destination = Source(), open_in(tmp_path)
    for n in (3, 1, 4, 0, 2):
        rows = [Version(f"{n}-{m}", TENTH + 5 * m + n, "x" * 300) for m in (2, 0, 1)]
        nulls = [Version(f"null-{n}", None), Version(f"early-{n}", n)]
        destination.load([source.batch(*rows, *nulls)])
    with pq.ParquetFile(completions_of(tmp_path)) as file:
        assert file.num_row_groups > 1
        ids = file.read(columns=["id"])["id"].to_pylist()
    assert ids == [f"{n}-{m}" for m in range(3) for n in range(5)]
    with pq.ParquetFile(completions_of(tmp_path, date="1970-01-01")) as file:
        ids = file.read(columns=["id"])["id"].to_pylist()
    assert ids == [f"{kind}-{n}" for kind in ("early", "null") for n in range(5)]


@pytest.mark.slow
def test_old_rows_are_read_a_row_group_at_a_time(tmp_path):
    """Merging takes no more memory than row groups of the old file, although the file is many times as large."""
    source, destination = Source(), open_in(tmp_path, full=2**40)
    text = "".join(random.Random(1).choices(string.printable, k=100_000))
    for start in range(4):
        rows = [Version(f"{start}-{n}", TENTH + 1000 * start + n, text[n:] + text[:n]) for n in range(400)]
        destination.load([source.batch(*rows)])
    path = tmp_path / "parquet" / "choices" / "source=prod" / "created_date=2026-01-10" / "data.parquet"
    nothing = CHOICES.columns.empty_table().drop_columns(["source", "created_date"])
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)]
    before = pa.total_allocated_bytes()
    touch = merge.Touch(CHOICES, nothing["completion_id"], nothing["segment"], None)
    merged = merge.merge(merge.pieces(path), nothing, touch)
    held = [pa.total_allocated_bytes() - before for _ in merged]
    assert sum(sizes) > 5 * merge.ROW_GROUP_BYTES
    assert max(held) < 3 * merge.ROW_GROUP_BYTES


def test_untouched_files_stay(tmp_path):
    """A load rewrites the dates that it touches and nothing else."""
    source, destination = Source(), open_in(tmp_path)
    destination.load([source.batch(example(), Version("b", TENTH + DAY))])
    before = {path: path.stat().st_ino for path in files_of(tmp_path)}
    destination.load([source.batch(Version("c", TENTH + DAY))])
    rewritten = {path.parts[-4] for path in before if before[path] != path.stat().st_ino}
    assert rewritten == {"completions", "choices", "metadata_history", "runs", "coverage"}
    assert completions_of(tmp_path).stat().st_ino == before[completions_of(tmp_path)]


def inode_of(path):
    return path.stat().st_ino if path.exists() else None


def test_a_date_that_grows_is_written_once(tmp_path):
    """While more is to come, a file is written when its date is whole, from either end, and never again."""
    source, model, destination = Source(), Memory(), open_in(tmp_path)
    loads = [
        [source.batch(Version("a"))],
        [source.batch(Version("i", TENTH + 8 * DAY)), source.batch(Version("b"), Version("c", TENTH + DAY))],
        [source.batch(Version("h", TENTH + 7 * DAY)), source.batch(Version("d", TENTH + DAY))],
        [source.batch(Version("g", TENTH + 7 * DAY)), source.batch(Version("e", TENTH + 2 * DAY))],
    ]
    first, newest, growing = (completions_of(tmp_path, date=f"2026-01-{day}") for day in (10, 18, 12))
    seen = []
    for batches in loads:
        model.load(batches)
        destination.load(batches, settle=False)
        seen.append([inode_of(path) for path in (first, newest, growing)])
    assert seen[:2] == [[None, None, None]] * 2
    assert None not in seen[2][:2]
    assert seen[3] == [*seen[2][:2], None]
    destination.settle()
    assert [inode_of(first), inode_of(newest)] == seen[2][:2]
    assert TestParquet().contents(tmp_path) == model.contents()
    assert open_in(tmp_path).bookmarks() == model.bookmarks()


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    """What would take too much memory waits no longer."""
    monkeypatch.setattr(parquet, "WAITING_BYTES", 0)
    open_in(tmp_path).load([Source().batch(Version("a"))], settle=False)
    assert open_in(tmp_path).bookmarks() == {"prod": 1}


def test_what_waits_is_taken_back_by_a_failure(tmp_path):
    """A load that fails leaves nothing that a later one would take for held."""
    source, destination = Source(), open_in(tmp_path)
    batches = [source.batch(Version("a")), source.batch(Version("b", TENTH + DAY))]
    destination.load(batches, settle=False)
    assert destination.bookmarks() == {"prod": 2}
    with pytest.raises(FailpointError), failpoints.armed("parquet.manifest=raise"):
        destination.settle()
    assert destination.bookmarks() == {}
    model = Memory()
    model.load(batches)
    destination.load(batches)
    assert TestParquet().contents(tmp_path) == model.contents()


def test_a_load_that_gets_less_far_than_a_killed_one(tmp_path):
    """What a killed load left of later segments stays looked for until they are held: no completion is there twice."""
    source, model = Source(), Memory()
    base, pad = source.batch(Version("x")), source.batch(Version("pad", TENTH + 5 * DAY))
    edit, move = source.batch(Version("x", text="edited")), source.batch(Version("x", TENTH + DAY, "moved"))
    model.load([base, pad, edit, move])
    open_in(tmp_path).load([base])
    with pytest.raises(FailpointError), failpoints.armed("parquet.manifest=raise"):
        open_in(tmp_path).load([pad, edit, move])
    for batch in (pad, edit):
        open_in(tmp_path).load([batch])
        assert [row["id"] for row in TestParquet().contents(tmp_path)["completions"]].count("x") <= 1
        assert compare.Parquet(tmp_path / "parquet").is_being_loaded
    open_in(tmp_path).load([move])
    assert not compare.Parquet(tmp_path / "parquet").is_being_loaded
    assert TestParquet().contents(tmp_path) == model.contents()


def test_folders_of_a_killed_load_get_their_mode(tmp_path):
    """A folder that was made and not yet opened to its group is opened by the next load."""
    source = Source()
    with pytest.raises(FailpointError), failpoints.armed("parquet.manifest=raise"):
        open_in(tmp_path, folder_mode=0o750).load([source.batch(example())])
    date = completions_of(tmp_path).parent
    date.chmod(0o700)
    open_in(tmp_path, folder_mode=0o750).load([source.batch(example(text="edited"))])
    assert date.stat().st_mode & 0o777 == 0o750


def test_small_batches_are_bounded_too(tmp_path, monkeypatch):
    """A batch takes memory however little is in it: many that wait are merged, although their rows are few."""
    monkeypatch.setattr(parquet, "WAITING_BYTES", 1_000_000)
    source = Source()
    open_in(tmp_path).load([source.batch(Version("a")) for _ in range(10)], settle=False)
    assert open_in(tmp_path).bookmarks() == {"prod": 10}


def test_sources_do_not_wait_for_each_other(tmp_path):
    """What waits of one source is settled before another one's comes."""
    here, there, model, destination = Source(), Source("other"), Memory(), open_in(tmp_path)
    for batch in (here.batch(Version("a")), there.batch(Version("b")), here.batch(Version("a", text="edited"))):
        model.load([batch])
        destination.load([batch], settle=False)
    destination.settle()
    assert open_in(tmp_path).bookmarks() == model.bookmarks()
    assert TestParquet().contents(tmp_path) == model.contents()


def parts_of(folder, table="completions"):
    """Return by name what the files of a date hold."""
    paths = sorted((folder / "parquet" / table).rglob("*.parquet"), key=lambda path: (len(path.name), path.name))
    return {path.name: pq.ParquetFile(path).read(["id"])["id"].to_pylist() for path in paths}


def test_a_date_of_very_many_is_added_to(tmp_path):
    """Where a date's file is full, what comes later begins another one, and late rows go among their neighbours."""
    source, destination = Source(), open_in(tmp_path, full=1)
    destination.load([source.batch(Version("a"), Version("b", TENTH + 10))])
    destination.load([source.batch(Version("c", TENTH + 10), Version("d", TENTH + 20))])
    assert parts_of(tmp_path) == {"data.parquet": ["a", "b", "c"], "data-2.parquet": ["d"]}
    first = completions_of(tmp_path).stat().st_ino
    destination.load([source.batch(Version("e", TENTH + 19), Version("f", TENTH + 20), Version("g", TENTH + 30))])
    assert parts_of(tmp_path) == {
        "data.parquet": ["a", "b", "c", "e"],
        "data-2.parquet": ["d", "f"],
        "data-3.parquet": ["g"],
    }
    untouched = completions_of(tmp_path).with_name("data-2.parquet").stat().st_ino
    assert completions_of(tmp_path).stat().st_ino != first
    destination.load([source.batch(Version("h", TENTH + 30), Version("a", text="edited"))])
    assert parts_of(tmp_path)["data-3.parquet"] == ["g", "h"]
    assert completions_of(tmp_path).with_name("data-2.parquet").stat().st_ino == untouched


def test_a_file_that_is_not_full_takes_in_what_comes(tmp_path):
    """As long as a date is small it is one file."""
    source, destination = Source(), open_in(tmp_path)
    for second in range(3):
        destination.load([source.batch(Version(f"v{second}", TENTH + second))])
    assert parts_of(tmp_path) == {"data.parquet": ["v0", "v1", "v2"]}


def test_rows_without_a_second_are_in_the_last_file(tmp_path):
    """A file that has such rows, or that gets some, is followed by none: wherever they lie they are looked for."""
    source, model, destination = Source(), Memory(), open_in(tmp_path, full=1)
    loads = [
        [Version("a", 5), Version("b", None)],
        [Version("c", 10), Version("d", None)],
        [Version("b", None, text="edited"), Version("d", 3)],
    ]
    for versions in loads:
        batch = source.batch(*versions)
        model.load([batch])
        destination.load([batch])
        assert TestParquet().contents(tmp_path) == model.contents()
    assert parts_of(tmp_path) == {"data.parquet": ["d", "a", "c", "b"]}


def test_a_last_file_without_any_second(tmp_path):
    """Where only rows without a second are left in the last file, others stay in those before it."""
    source, model, destination = Source(), Memory(), open_in(tmp_path, full=1)
    loads = [
        [Version("a", 5)],
        [Version("b", 10)],
        [Version("c", 15)],
        [Version("d", None)],
        [Version("c", TENTH)],
        [Version("e", 12), Version("f", 4), Version("g", None)],
    ]
    for versions in loads:
        batch = source.batch(*versions)
        model.load([batch])
        destination.load([batch])
        assert TestParquet().contents(tmp_path) == model.contents()
    completions_of(tmp_path).unlink()  # where c is now
    assert [*parts_of(tmp_path).values()] == [["f", "a"], ["b", "e"], ["d", "g"]]


def test_emptied_file_goes(tmp_path):
    """No file without rows stays."""
    source, destination = Source(), open_in(tmp_path)
    destination.load([source.batch(example())])
    destination.load([source.batch(example(created=TENTH + DAY, rejects=0))])
    assert not completions_of(tmp_path).exists()
    assert not list((tmp_path / "parquet" / "rejects").rglob("*.parquet"))


def test_nothing_else_lies_there(tmp_path):
    """The dataset holds data files and the manifest; the scratch folder is left empty."""
    open_in(tmp_path).load([Source().batch(example())])
    names = {path.name for path in (tmp_path / "parquet").rglob("*") if path.is_file()}
    assert names == {"data.parquet", "manifest.json"}
    assert not list((tmp_path / "scratch").iterdir())


def test_manifest_describes_the_files(tmp_path):
    """Each file is listed with the checksum, rows and bytes that it really has, and nothing is unfinished."""
    open_in(tmp_path).load([Source().batch(example(), Version("b", TENTH + DAY))])
    told = json.loads((tmp_path / "parquet" / "manifest.json").read_text())
    assert told["bookmarks"] == {"prod": 1}
    assert told["unfinished"] == []
    assert told["files"] == {
        str(path.relative_to(tmp_path / "parquet")): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": pq.read_metadata(path).num_rows,
            "bytes": path.stat().st_size,
        }
        for path in files_of(tmp_path)
    }


def test_healing_that_fails_too(tmp_path, monkeypatch):
    """Rows that a killed load put at a later date are gone from there before a smaller load puts them elsewhere."""
    source = Source()
    base, near = source.batch(Version("a", TENTH + DAY)), source.batch(Version("a", TENTH))
    far = source.batch(Version("a", TENTH + 2 * DAY))
    suite = TestParquet()
    suite.load(tmp_path, [base])
    steps = [([near, far], "parquet.manifest", 1), *(([near], "files.renamed", n) for n in range(1, 6))]
    for batches, name, times in steps:
        monkeypatch.setattr(failpoints, "_plan", {name: ("raise", times)})
        monkeypatch.setattr(failpoints, "_passed", {})
        with pytest.raises(FailpointError):
            suite.load(tmp_path, batches)
        suite.check_ids(suite.contents(tmp_path))
    monkeypatch.undo()
    assert suite.load(tmp_path, [near]) == {"prod": 2}
    suite.check_ids(suite.contents(tmp_path))
    suite.both(tmp_path, [base, near], [far])
    assert not json.loads((tmp_path / "parquet" / "manifest.json").read_text())["unfinished"]


def lose(path):
    path.unlink()


def cut(path):
    os.truncate(path, 100)


def add(path):
    other = path.parents[1] / "created_date=2025-01-01"
    other.mkdir()
    shutil.copy(path, other / path.name)


def spoil_manifest(path):
    (path.parents[3] / "manifest.json").write_bytes(b"{")


def lose_manifest(path):
    (path.parents[3] / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [lose, cut, add, spoil_manifest, lose_manifest])
def test_dataset_that_is_not_as_told(tmp_path, damage):
    """A dataset that is not what its manifest says holds nothing, and loading makes it right again."""
    batch = Source().batch(example())
    open_in(tmp_path).load([batch])
    damage(completions_of(tmp_path))
    destination = open_in(tmp_path)
    assert destination.bookmarks() == {}
    destination.load([batch])
    model = Memory()
    model.load([batch])
    assert TestParquet().contents(tmp_path) == model.contents()
    assert open_in(tmp_path).bookmarks() == {"prod": 1}


def test_dataset_of_another_layout(tmp_path):
    """A dataset made with another setting holds nothing and says so; opening it takes nothing from its readers."""
    batch = Source().batch(example())
    assert not open_in(tmp_path, logprobs=True).is_outdated
    open_in(tmp_path).load([batch])
    before = files_of(tmp_path)
    other = open_in(tmp_path, logprobs=True)
    assert (other.is_outdated, other.bookmarks(), files_of(tmp_path)) == (True, {}, before)
    assert not open_in(tmp_path).is_outdated
    other.load([batch])
    assert (other.is_outdated, other.bookmarks()) == (False, {"prod": 1})


def test_damaged_dataset_is_outdated(tmp_path):
    """A dataset that is damaged is made anew beside: until then its readers keep what is left of it."""
    open_in(tmp_path).load([Source().batch(example())])
    lose(completions_of(tmp_path))
    before = files_of(tmp_path)
    other = open_in(tmp_path)
    assert (other.is_outdated, other.bookmarks(), files_of(tmp_path)) == (True, {}, before)


def test_readers_miss_nothing_while_a_killed_load_is_made_good(tmp_path, monkeypatch):
    """A load after a killed one takes nothing away to bring it back, nor does one that moves a neighbour."""
    source = Source()
    first, moving = source.batch(example(), Version("b")), source.batch(Version("b", TENTH + DAY), example())
    with pytest.raises(FailpointError), failpoints.armed("parquet.manifest=error:1"):
        open_in(tmp_path).load([first])
    seen = []
    monkeypatch.setattr("pipeline.load.parquet.reach", lambda _: seen.append(ids_of(tmp_path)))
    open_in(tmp_path).load([first])
    assert set(seen) == {("b", "chatcmpl-1")}
    open_in(tmp_path).load([moving])
    assert set(seen) == {("b", "chatcmpl-1"), ("chatcmpl-1",)}
    assert seen[-1] == ("b", "chatcmpl-1")


def ids_of(folder):
    paths = sorted((folder / "parquet" / "completions").rglob("*.parquet"))
    return tuple(sorted(id_ for path in paths for id_ in pq.ParquetFile(path).read(["id"])["id"].to_pylist()))


def modes_of(folder):
    paths = [folder / "parquet", *(folder / "parquet").rglob("*")]
    return {(path.is_dir(), path.stat().st_mode & 0o777) for path in paths}


def test_modes(tmp_path):
    """Folders and files are private unless a group may read them; a changed setting changes what is there."""
    source = Source()
    open_in(tmp_path).load([source.batch(example())])
    assert modes_of(tmp_path) == {(True, 0o700), (False, 0o600)}
    open_in(tmp_path, folder_mode=0o750, file_mode=0o640).load([source.batch(Version("b", TENTH + DAY))])
    assert modes_of(tmp_path) == {(True, 0o750), (False, 0o640)}
