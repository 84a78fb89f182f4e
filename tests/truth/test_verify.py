"""The proof: damage is named with the command that mends it, and what is derived is mended from the archive."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from contextlib import contextmanager
from copy import copy as shallow
from functools import partial

import duckdb
import pytest

from pipeline.adopt import adopt
from pipeline.errors import ConfigError, UsageError
from pipeline.folder import DataFolder
from pipeline.forget import forget
from pipeline.load import compare, parquet
from pipeline.repair import repair
from pipeline.schema import TABLES
from pipeline.verify import verify

from .world import DAY, HOUR, NOW, World, prove, versions

NEEDLE = "needle-in-the-haystack"
URI = "data:image/png;base64,iVBORw0KGgo="


@contextmanager
def exported(folder):
    """Hold completions of a week with their messages, images among them."""
    with World(folder, limit=10, messages=True) as one:
        parts = [{"type": "image_url", "image_url": {"url": URI, "detail": None}}]
        one.ids = []
        for age in range(7 * DAY, 0, -12 * HOUR):
            body = {**_body(f"c{age}", NOW - age), "metadata": {"user": str(age % 5)}}
            one.ids.append(one.store.add(body, messages=[{"role": "user", "content": parts}]))
        one.run()
        yield one


@pytest.fixture
def world(tmp_path):
    """Hold what was exported, beside the server that may change."""
    with exported(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Hold what was exported, for copies of it."""
    with exported(tmp_path_factory.mktemp("original")) as one:
        yield one


@pytest.fixture(scope="module")
def original_forgot(original, tmp_path_factory):
    """Hold what was exported, one of it forgotten, for copies of it."""
    one = twin(original, tmp_path_factory.mktemp("forgot"))
    forget(one.config(), ids=[one.ids[0]])
    return one


@pytest.fixture
def damaged(original, tmp_path):
    """Hold a copy of what was exported, to be damaged: sooner made than another export."""
    return twin(original, tmp_path)


@pytest.fixture
def flipped(original_forgot, tmp_path):
    """Hold a copy of what was exported, one of it forgotten, to be damaged."""
    return twin(original_forgot, tmp_path)


def twin(world, folder):
    """Return the same world with a copy of its data folder; the server is the same one."""
    one = shallow(world)
    one.data = folder / "data"
    shutil.copytree(world.data, one.data)
    one.folder = DataFolder(one.data)
    return one


def _body(id_, second):
    message = {"role": "assistant", "content": NEEDLE, "tool_calls": None}
    return {
        "id": id_,
        "object": "chat.completion",
        "created": second,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "metadata": {},
    }


def copy(path):
    """Put a copy beside a file, which a glob over the table sees too."""
    shutil.copy(path, path.with_name("x.parquet"))


def add_blob(path):
    """Put a blob beside another that nothing refers to."""
    path.with_name(path.name[:2] + "0" * 62).write_bytes(b"x")


def flip(path, *, everywhere=False):
    """Change one byte in the middle of a file, or all of them."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    data = bytes(len(data)) if everywhere else data
    path.chmod(0o600)
    path.write_bytes(data)


def change_row(path):
    """Change one value of one row in a DuckDB file."""
    path.chmod(0o600)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE completions SET total_tokens = 4 WHERE id = (SELECT min(id) FROM completions)")


def segment(world):
    return world.folder.archive / "prod" / "00000001.parquet"


def tombstones(world):
    forget(world.config(), ids=[world.ids[0]])
    return segment(world).parent / "forgotten.json"


def data_file(world):
    return next(world.folder.parquet.glob("choices/*/*/data.parquet"))


def blob(world):
    return next(path for path in world.folder.blobs.rglob("*") if path.is_file())


#: By name: the damage, the kind of problem that verify names, and what mends it; None is a backup.
DAMAGES = {
    "a segment changed": (lambda w: flip(segment(w)), "segment-damaged", None),
    "a segment missing": (lambda w: segment(w).unlink(), "segment-missing", None),
    "the ledger missing": (lambda w: (segment(w).parent / "ledger.jsonl").unlink(), "ledger-missing", "ledger"),
    "the ledger spoiled": (lambda w: (segment(w).parent / "ledger.jsonl").write_text("{"), "ledger-damaged", "ledger"),
    "the tombstones spoiled": (lambda w: tombstones(w).write_text("{"), "forgotten-damaged", None),
    "the tombstones missing": (lambda w: tombstones(w).unlink(), "forgotten-missing", None),
    "a blob changed": (lambda w: flip(blob(w)), "blob-damaged", None),
    "a blob missing": (lambda w: blob(w).unlink(), "blob-missing", None),
    "a blob that nothing refers to": (lambda w: add_blob(blob(w)), "blob-extra", "blobs"),
    "a Parquet file changed": (lambda w: flip(data_file(w)), "parquet-differs", "parquet"),
    "a Parquet file missing": (lambda w: data_file(w).unlink(), "parquet-differs", "parquet"),
    "a Parquet file extra": (lambda w: copy(data_file(w)), "parquet-differs", "parquet"),
    "the manifest missing": (lambda w: (w.folder.parquet / "manifest.json").unlink(), "parquet-differs", "parquet"),
    "a row of DuckDB changed, missing or extra": (lambda w: change_row(w.folder.warehouse), "duckdb-differs", "duckdb"),
    "the writer's DuckDB file missing": (lambda w: w.folder.warehouse.unlink(), "duckdb-missing", "duckdb"),
    "a row of the snapshot changed, missing or extra": (
        lambda w: change_row(w.folder.snapshot), "snapshot-differs", "duckdb"
    ),
    "the snapshot spoiled": (lambda w: flip(w.folder.snapshot, everywhere=True), "snapshot-differs", "duckdb"),
}  # fmt: skip


#: By store: its files, and the commands that may mend what is changed in one.
STORES = {
    "segments": ("archive/prod/*.parquet", {"backup"}),
    "ledger": ("archive/prod/ledger.jsonl", {"pipeline rebuild ledger"}),
    "tombstones": ("archive/prod/forgotten.json", {"backup"}),
    "blobs": ("blobs/*/*", {"backup"}),
    "parquet": ("parquet/*/*/*/*.parquet", {"pipeline rebuild parquet"}),
    "manifest": ("parquet/manifest.json", {"pipeline rebuild parquet"}),
}
FLIPS = [(store, seed) for store in STORES for seed in range(6)]


@pytest.mark.parametrize(
    ("store", "seed"), [pytest.param(*flip, marks=pytest.mark.slow if flip[1] else ()) for flip in FLIPS]
)
def test_any_bit_anywhere_is_noticed(flipped, store, seed):
    """One bit changed at any place of any file is named, with the file and what mends it."""
    pattern, repairs = STORES[store]
    rng = random.Random(f"{store}{seed}")
    path = rng.choice(sorted(flipped.data.glob(pattern)))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    verdict = verify(flipped.config())
    told = [problem for problem in verdict.problems if str(path) in problem.where]
    assert (verdict.exit_code, bool(told)) == (4, True), verdict
    assert any(repair in told[0].repair for repair in repairs)


def slow_but(few, cases):
    """Leave cases that differ little from their neighbours to the slow tests."""
    return [pytest.param(*one, marks=() if one in few else pytest.mark.slow) for one in cases]


#: What the fixture has no row of.
EMPTY = {"tool_calls", "rejects", "logprobs", "organization_usage", "organization_costs"}


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize("file", ["warehouse", "snapshot"])
@pytest.mark.parametrize("what", ["changed", "missing", "extra"])
def test_any_row_is_noticed(damaged, what, file):
    """A row that is changed, missing or there twice is named with its table, in each table of DuckDB."""
    path = getattr(damaged.folder, file)
    path.chmod(0o600)
    with duckdb.connect(path) as connection:
        for table in TABLES.keys() - EMPTY:
            one = f"rowid = (SELECT min(rowid) FROM {table})"
            ((damage,),) = connection.execute(
                {
                    "changed": f"UPDATE {table} SET created_date = created_date + 1 WHERE {one}",
                    "missing": f"DELETE FROM {table} WHERE {one}",
                    "extra": f"INSERT INTO {table} SELECT * FROM {table} WHERE {one}",
                }[what]
            ).fetchall()
            assert damage == 1, table
    verdict = verify(damaged.config())
    kind = {"warehouse": "duckdb-differs", "snapshot": "snapshot-differs"}[file]
    told = {problem.where.split(",")[0] for problem in verdict.problems if problem.kind == kind}
    assert (told, verdict.exit_code) == (TABLES.keys() - EMPTY, 4)
    repair(damaged.config(), "duckdb")
    assert verify(damaged.config()).unexplained == 0


SOME = [
    ("a segment changed",),
    ("the ledger missing",),
    ("a Parquet file changed",),
    ("a row of the snapshot changed, missing or extra",),
]


def test_a_snapshot_with_a_log_is_no_copy(damaged):
    """A snapshot of the writer's own bytes is proved with it, unless a log beside either says more than they do."""
    writer, snapshot = damaged.folder.warehouse, compare.DuckDB(damaged.folder.snapshot)
    assert snapshot.is_copy_of(writer)
    for file in (writer, damaged.folder.snapshot, damaged.folder.snapshot.resolve()):
        log = file.with_name(f"{file.name}.wal")
        log.write_bytes(b"more")
        assert not snapshot.is_copy_of(writer)
        log.unlink()


@pytest.mark.parametrize("name", slow_but(SOME, [(name,) for name in DAMAGES]))
def test_damage_is_named_and_mended(damaged, name):
    """Each kind of damage is named with what mends it; where that is a command, afterwards nothing is wrong."""
    damage, kind, mended_by = DAMAGES[name]
    damage(damaged)
    verdict = verify(damaged.config())
    assert verdict.exit_code == 4
    found = [problem for problem in verdict.problems if problem.kind == kind]
    assert found, verdict
    if mended_by is None:
        assert "backup" in found[0].repair
        return
    assert found[0].repair == f"pipeline rebuild {mended_by}"
    repair(damaged.config(), mended_by)
    assert verify(damaged.config()).unexplained == 0
    assert verify(damaged.config()).compared == ("parquet", "duckdb", "snapshot")


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_against_the_api_everything_is_explained(world):
    """What came, went or changed since the last run is told by reason; what no run has seen is unexplained."""
    verdict = verify(world.config(), against_api=True)
    (proof,) = verdict.proofs
    assert (proof.listed, proof.listed_and_held, proof.held, proof.explained, verdict.unexplained) == (
        14,
        14,
        14,
        {},
        0,
    )
    world.store.delete(world.ids[1])
    world.store.edit(world.ids[2], {"a": "b"})
    world.add(NOW - 60)
    verdict = verify(world.config(), against_api=True)
    assert (sorted(verdict.proofs[0].explained.values()), verdict.exit_code) == ([1, 1, 1], 0)
    (late,) = world.add(NOW - 3 * DAY)
    verdict = verify(world.config(), against_api=True)
    assert (verdict.unexplained, verdict.exit_code) == (1, 4)
    assert late in verdict.problems[-1].message


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize("what", ["parquet", "duckdb", "all"])
def test_rebuilt_is_what_it_was(world, what):
    """Made anew from the archive alone, every row is what the nights had made of it."""
    world.store.edit(world.ids[-1], {"a": "b"})
    world.run()
    world.server.__exit__(None, None, None)
    assert all(done.exit_code == 0 for done in repair(world.config(), what))
    prove(world.data)
    assert verify(world.config()).unexplained == 0
    world.server.__init__(world.store)
    world.server.__enter__()


def test_forgetting_by_metadata_and_upstream(world):
    """All with some metadata are meant, in any version; deleted at the source as well where that is asked for."""
    meant = {id_ for id_, body in world.store.bodies().items() if json.loads(body)["metadata"] == {"user": "0"}}
    done = forget(world.config(), metadata={"user": "0"}, upstream=True)
    assert (done.held, done.deleted_upstream) == (len(meant), len(meant))
    assert not meant & (world.store.visible_ids() | versions(world.archive()).keys())
    assert forget(world.config(), ids=["x"], confirm=lambda _: False).held == 0


@pytest.mark.parametrize(
    "form",
    [
        "jsonl",
        "parquet",
        *(pytest.param(form, marks=pytest.mark.slow) for form in ("gz", "page", "array", "folder", "duckdb")),
    ],
)
def test_saved_completions_are_adopted(world, tmp_path, form):
    """Whatever form they were saved in, what is not held is taken in and marked, and what is held stays as it is."""
    old = [_body(f"saved-{number}", NOW - 90 * DAY + number) for number in range(3)]
    held = {**_body(world.ids[0], NOW - 7 * DAY), "model": "other"}
    path, options = save(tmp_path / "saved", form, [*old, held])
    done = adopt(world.config(), path, source="prod", **options)
    assert (done.new, done.held) == (3, 1)
    assert len(done.skipped) == (form in {"jsonl", "gz", "folder"})
    world.run()
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        told = connection.execute(
            "SELECT origin, count(*), any_value(model) FROM completions GROUP BY ALL ORDER BY ALL"
        )
        assert told.fetchall() == [("adopted", 3, "m"), ("api", 14, "m")]
    assert verify(world.config(), against_api=True).unexplained == 0
    assert adopt(world.config(), path, source="prod", **options).new == 0


def save(path, form, bodies):
    """Save completions in one of the forms that people have."""
    path.mkdir()
    lines = "\n".join(["", *map(json.dumps, bodies), "no json"]).encode()
    if form in {"jsonl", "folder"}:
        (path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines)
        return (path if form == "folder" else path / "a.jsonl"), {}
    if form == "gz":
        (path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
        return path / "a.jsonl.gz", {}
    if form in {"page", "array"}:
        text = bodies if form == "array" else {"object": "list", "data": bodies, "has_more": False}
        (path / "a.json").write_text(json.dumps(text, indent=1))
        return path / "a.json", {}
    with duckdb.connect(path / "a.duckdb") as connection:
        connection.execute("CREATE TABLE kept (number BIGINT, body VARCHAR)")
        connection.executemany("INSERT INTO kept VALUES (1, ?)", [[json.dumps(body)] for body in bodies])
        if form == "parquet":
            connection.execute(f"COPY kept TO '{path / 'a.parquet'}'")
    return (path / "a.parquet", {}) if form == "parquet" else (path / "a.duckdb", {"table": "kept"})


def test_what_cannot_be_adopted(world, tmp_path):
    """A source that is not configured, a file of another kind and a column that is not there are told in words."""
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match="no source other"):
        adopt(world.config(), tmp_path / "a.txt", source="other")
    with pytest.raises(UsageError, match="none of the files"):
        adopt(world.config(), tmp_path / "a.txt", source="prod")
    path, _ = save(tmp_path / "saved", "duckdb", [_body("a", 1)])
    with pytest.raises(UsageError, match="which column"):
        adopt(world.config(), path, source="prod", table="kept", column="nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no"):
        adopt(world.config(), tmp_path / "empty", source="prod")


def test_a_date_of_several_files_is_compared(tmp_path, monkeypatch):
    """Each run adds to a date, and all of its files are read: one that is gone is missed."""
    monkeypatch.setattr(parquet, "ParquetDestination", partial(parquet.ParquetDestination, full=1))
    with World(tmp_path) as world:
        for _ in range(3):
            world.clock.advance(600)
            world.add(int(world.clock()) - 5)
            world.run()
        assert verify(world.config()).unexplained == 0
        prove(world.data)
        last = world.folder.parquet / "completions" / "source=prod" / "created_date=2025-09-16" / "data-3.parquet"
        last.unlink()
        told = verify(world.config())
        assert {(problem.kind, problem.where) for problem in told.problems} >= {("parquet-differs", str(last))}
