"""Loads of two sources that fail wherever the disk may: no row is ever twice, and what goes on comes to the model."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import files
from pipeline.errors import PipelineError
from pipeline.load import merge, parquet
from pipeline.load.parquet import ParquetDestination

from . import test_parquet
from .made import DAY, TENTH, Memory, Source, Version

#: What tells a row from all others of its source.
KEYS = {
    "completions": ["id"],
    "choices": ["completion_id", "index"],
    "tool_calls": ["completion_id", "choice_index", "index"],
    "metadata_history": ["completion_id", "segment"],
    "runs": ["segment"],
    "organization_usage": ["created", "index"],
}
SEEDS = 24


class Disk:
    """Fails at a step, and looks after every other one whether a row is twice in the dataset."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.left = None
        """Steps until it fails."""
        for owner, name in ((Path, "replace"), (Path, "unlink"), (files, "_sync")):
            monkeypatch.setattr(owner, name, self.watched(getattr(owner, name)))

    def watched(self, call):
        def step(path, *rest, **named):
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise OSError(errno.EIO, "it fails", str(path))
            done = call(path, *rest, **named)
            for changed in (path, *rest):
                if isinstance(changed, Path) and changed.suffix == ".parquet":
                    self.look(changed.relative_to(self.root).parts[0])
            return done

        return step

    def look(self, table):
        for source in (self.root / table).glob("source=*") if table in KEYS else ():
            rows = [row for path in source.rglob("*.parquet") for row in _rows(path, KEYS[table])]
            assert len(rows) == len(set(rows)), (table, sorted(map(str, rows)))


def _rows(path, key):
    columns = pq.ParquetFile(path).read(key)
    return zip(*(columns[name].to_pylist() for name in key), strict=True)


def segment(chance, source):
    """Make a batch of completions that come, are edited, move within their date or to another, and go."""
    seconds = [None, *(TENTH + day * DAY + second for day in range(3) for second in range(3))]
    versions = [
        Version(id_, chance.choice(seconds), chance.choice("tu"), chance.randrange(3), chance.randrange(2))
        for id_ in chance.sample("abcde", chance.randrange(4))
    ]
    here = {version.id for version in versions}
    gone = [id_ for id_ in "abcde" if id_ not in here and source.holds(id_) and chance.random() < 0.2]
    return source.batch(*versions, gone=gone, days={day: 1 for day in range(2) if chance.random() < 0.2})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_loads_that_fail_anywhere(tmp_path, monkeypatch, seed):
    """In whatever groups, settled or not, gone on with or opened anew: nothing is twice, and at last all is right."""
    chance = random.Random(seed)
    monkeypatch.setattr(parquet, "WAITING_BYTES", chance.choice([0, 1_000_000, 2**26]))
    monkeypatch.setattr(merge, "ROW_GROUP_BYTES", chance.choice([300, 2**24]))
    full = chance.choice([1, 2**40])
    sources = [Source("one"), Source("two")]
    batches = {source.name: [segment(chance, source) for _ in range(chance.randrange(3, 8))] for source in sources}
    disk = Disk(tmp_path / "parquet", monkeypatch)
    failures = chance.randrange(1, 6)

    def opened():
        found = ParquetDestination(tmp_path / "parquet", tmp_path / "scratch", full=full)
        assert not found.is_outdated
        return found

    destination = opened()
    while lacking := [name for name in batches if destination.bookmarks().get(name, 0) < len(batches[name])]:
        name = chance.choice(lacking)
        held = destination.bookmarks().get(name, 0)
        if failures and chance.random() < 0.7:
            disk.left, failures = chance.randrange(120), failures - 1
        try:
            destination.load(batches[name][held : held + chance.choice([1, 1, 2, 6])], settle=chance.random() < 0.4)
        except PipelineError:
            destination = opened() if chance.random() < 0.8 else destination
        disk.left = None
    destination.settle()
    model = Memory()
    for of_one in batches.values():
        model.load(of_one)
    assert (opened().bookmarks(), destination._manifest.unfinished) == (model.bookmarks(), frozenset())
    assert test_parquet.TestParquet().contents(tmp_path) == model.contents()
    assert not list((tmp_path / "scratch").iterdir())
