"""Whatever bytes a server sends as pages: archive, Parquet and DuckDB hold what is in them, and agree."""

import contextlib
import json
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.extract.page import BadPageError, decode
from pipeline.load.duckdb import DuckDBDestination
from pipeline.load.parquet import ParquetDestination
from pipeline.transform import flatten
from tests.archive.made import BIG, archive_in, intake_of, reading

from .hostile import HOSTILE, MOVED
from .pages import pages
from .promises import check, counts, understood

TABLES = ("completions", "choices", "tool_calls", "rejects")


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(body=pages())
def test_any_page_is_split_and_flattened(body):
    """A page is refused only if it is no JSON page; else each row is there as sent, in sound tables, one per id."""
    check(body)


@pytest.mark.slow
@settings(
    max_examples=settings.default.max_examples // 4,  # each builds an archive and two destinations
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(bodies=st.lists(pages(), min_size=1, max_size=4), size=st.sampled_from([1, 500, BIG]))
@example(bodies=[*HOSTILE], size=1)
@example(bodies=[*HOSTILE, *HOSTILE], size=BIG)
@example(bodies=[*MOVED, *HOSTILE, *MOVED], size=1)
def test_whatever_is_sent_is_archived_and_loaded(bodies, size):
    """The archive holds each version of each row once, byte for byte; both destinations hold one row per id of it."""
    received = [page for page in map(decoded, bodies) if page]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, received, size)
        kept = archived(folder)
        compare_with_received(kept, [row for page in received for row in page.rows])
        load(folder)
        latest = {one["id"]: one["body"] for one in kept}
        compare_with_tables(folder, latest)


def decoded(body):
    """Decode a page; None for what is no JSON page."""
    try:
        return decode(body, server_time=0)
    except BadPageError:
        return None


def fill(folder, received, size):
    """Keep pages as a run does, in segments of a size."""
    archive = archive_in(folder)
    intake = intake_of(archive, segment_size=size)
    for page in received:
        intake.known(page)
        intake.take(page)
        if intake.is_full:
            intake.cut(reading())
    intake.cut(reading())


def archived(folder):
    """Read every completion of the archive back, by a reader that begins with the files alone."""
    return [row for segment in archive_in(folder).after(0) for row in segment.table.to_pylist()]


def compare_with_received(kept, sent):
    """Check that each row sent is held under its id, and that nothing is held twice in a row or was never sent."""
    versions = {}
    for one in kept:
        before = versions.setdefault(one["id"], [])
        assert one["is_version"] == bool(before)
        assert one["body"] not in before[-1:]
        before.append(one["body"])
    assert set(versions) == {row.id for row in sent}
    assert {(one["id"], one["body"]) for one in kept} <= {(row.id, row.body) for row in sent}
    for row in sent:
        held = versions[row.id]
        assert row.body in held or in_one_way(row.body) in map(in_one_way, held)
    for id_, held in versions.items():
        last = next(row.body for row in reversed(sent) if row.id == id_)
        assert held[-1] == last or in_one_way(held[-1]) == in_one_way(last)


def in_one_way(body):
    """Write JSON with its keys sorted; what Python does not read stays as it is."""
    told = understood(body)
    return body if told is None else json.dumps(told, sort_keys=True)


def load(folder):
    """Load every segment into both destinations, and once more, which changes nothing."""
    batches = [flatten(segment) for segment in archive_in(folder).after(0)]
    for batch in batches:
        for table in batch.tables.values():
            table.validate(full=True)
    destinations = (DuckDBDestination(folder / "duck"), ParquetDestination(folder / "parquet", folder / "scratch"))
    for destination in destinations:
        with contextlib.closing(destination):
            for batch in batches:
                destination.load([batch])
            destination.load(batches)


def compare_with_tables(folder, latest):
    """Check that both destinations hold the same rows, one completion per id, with the counts that could be read."""
    loaded = {name: table(folder, name) for name in TABLES}
    for name, (in_duckdb, in_parquet) in loaded.items():
        assert in_duckdb == in_parquet, name
    completions, _ = loaded["completions"]
    assert sorted(one["id"] for one in completions) == sorted(latest)
    for one in completions:
        told = counts(latest[one["id"]])
        assert {counter: one[counter] for counter in told} == told


def table(folder, name):
    """Read a table as both destinations hold it, in one order."""
    with contextlib.closing(duckdb.connect(folder / "duck", read_only=True)) as connection:
        in_duckdb = connection.sql(f"FROM {name}").to_arrow_table()
        files = folder / "parquet" / name
        in_parquet = (
            connection.sql(f"FROM read_parquet('{files}/**/*.parquet', hive_partitioning = true)").to_arrow_table()
            if any(files.rglob("*.parquet"))
            else in_duckdb.slice(0, 0)
        )
    return in_order(in_duckdb), in_order(in_parquet)


def in_order(rows: pa.Table):
    """Sort rows by all that they hold."""
    found = rows.select(sorted(rows.column_names)).to_pylist()
    return sorted(found, key=repr)
