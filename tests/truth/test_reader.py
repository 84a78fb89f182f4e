"""The readers of the fault tests notice what they look for: rows twice, half of a completion, what is gone."""

from __future__ import annotations

from contextlib import closing
from operator import length_hint

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from . import reader


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
    assert reader.snapshot(tmp_path / "data") == (set(ids), seen)


def test_parquet_is_looked_through(tmp_path):
    """A completion in the files of two dates is told, by both ways of reading them."""
    written(tmp_path, "2026-01-10", ["a", "b"])
    assert reader.parquet(tmp_path) == ({"a", "b"}, [])
    written(tmp_path, "2026-01-11", ["b", "c"])
    assert reader.parquet(tmp_path) == ({"a", "b", "c"}, ["b", ("prod", "b")])


def test_what_is_gone_is_told(tmp_path, monkeypatch):
    """A completion, or all, that was there and is not any more is a problem; what is being forgotten is none."""
    data = tmp_path / "victim" / "data"
    data.mkdir(parents=True)
    looks = iter([None, ({"a", "b", "c"}, []), ({"a"}, []), ({"a"}, []), None])
    (data.parent / reader.LEAVING).write_text("b\n")
    monkeypatch.setattr(reader.select, "select", lambda *_: [not length_hint(looks)])
    told = reader.watch(lambda _: next(looks), tmp_path)
    assert told == {"looks": 3, "problems": [f"{data}: c is gone", f"{data}: it was there and is gone"]}
