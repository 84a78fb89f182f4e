"""The readers of the fault tests notice what they look for: rows twice, half of a completion, what is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from . import reader
from .test_kills import ROOT


def published(data, ids, answered):
    """Publish completions by id, and choices of some."""
    data.mkdir(parents=True, exist_ok=True)
    with closing(duckdb.connect(data / "new.duckdb")) as connection:
        connection.execute("CREATE TABLE completions (source VARCHAR, id VARCHAR)")
        connection.execute("CREATE TABLE choices (completion_id VARCHAR)")
        connection.executemany("INSERT INTO completions VALUES ('prod', ?)", [[id_] for id_ in ids])
        connection.executemany("INSERT INTO choices VALUES (?)", [[id_] for id_ in answered])
    (data / "new.duckdb").rename(data / "warehouse.duckdb")


def written(data, date, ids):
    """Write the Parquet file of a date."""
    path = data / "parquet" / "completions" / "source=prod" / f"created_date={date}" / "data.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": ids}), path)


@pytest.mark.parametrize(
    ("ids", "answered", "seen"), [("ab", "ab", []), ("aba", "ab", [("prod", "a")]), ("ab", "a", [("b",)])]
)
def test_a_snapshot_is_looked_through(tmp_path, ids, answered, seen):
    """A completion that is there twice, and one without its choices, are told; a sound snapshot has neither."""
    published(tmp_path / "data", ids, answered)
    assert reader.snapshot(tmp_path / "data") == seen


def test_parquet_is_looked_through(tmp_path):
    """A completion in the files of two dates is told, by both ways of reading them."""
    written(tmp_path, "2026-01-10", ["a", "b"])
    assert reader.parquet(tmp_path) == []
    written(tmp_path, "2026-01-11", ["b", "c"])
    assert reader.parquet(tmp_path) == ["b", ("prod", "b")]


def test_what_is_gone_is_told(tmp_path):
    """What was published and is not there any more is a problem; what was not published yet is none."""
    data = tmp_path / "victim" / "data"
    data.mkdir(parents=True)
    code = "import sys; from pathlib import Path; from tests.truth.reader import *; print(flush=True)\n" + LOOK
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as looking:
        looking.stdout.readline()
        published(data, "a", "a")
        assert looking.stdout.readline() == "seen\n"
        (data / "warehouse.duckdb").unlink()
        assert looking.stdout.readline() == "gone\n"
        told = json.loads(looking.communicate()[0])
    assert set(told["problems"]) == {f"{data}: it was there and is gone"}


#: Look as the reader does, and say so once it saw something, and once that is gone.
LOOK = """
said = set()
def look(data):
    found = snapshot(data)
    word = "seen" if found is not None else "gone" if said else ""
    if word and word not in said:
        print(word, flush=True)
        said.add(word)
    return found
json.dump(watch(look, Path(sys.argv[1])), sys.stdout)
"""
