"""Parquet, DuckDB and a model of fifty lines hold the same, whatever is loaded in whatever groups."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import test_duckdb, test_parquet
from .made import DAY, TENTH, Memory, Source, Version

VERSIONS = st.builds(
    Version,
    id=st.sampled_from("abcde"),
    created=st.one_of(
        st.none(), st.builds(lambda day, second: TENTH + day * DAY + second, st.integers(-1, 2), st.integers(0, 3))
    ),
    text=st.one_of(st.none(), st.text(max_size=3)),
    choices=st.integers(0, 2),
    calls=st.integers(0, 1),
    rejects=st.integers(0, 1),
)
#: Completions that stay at their date: input messages are only looked for where the completion stands.
STAYING = st.builds(Version, id=st.sampled_from("xyz"), text=st.text(max_size=3), messages=st.integers(0, 2))
SEGMENTS = st.tuples(
    st.lists(VERSIONS | STAYING, max_size=4, unique_by=lambda version: version.id),
    st.dictionaries(st.sampled_from("xyz"), st.integers(1, 2), max_size=2),
    st.sets(st.sampled_from("abcxyz"), max_size=3),
)
SUITES = (test_parquet.TestParquet(), test_parquet.TestParquetInParts(), test_duckdb.TestDuckDB())
#: Groups of segments of one of two sources; each group is one load.
LOADS = st.lists(st.tuples(st.integers(0, 1), st.lists(SEGMENTS, min_size=1, max_size=3)), max_size=5)


def made_by(source, segment):
    """Make the batch of a segment; only what is held can be asked for, or go, and not where its newer version is."""
    versions, fetched, gone = segment
    here = {version.id for version in versions}
    asked = {id_: count for id_, count in fetched.items() if source.holds(id_) and id_ not in here}
    return source.batch(*versions, fetched=asked, gone=sorted(id_ for id_ in gone - here if source.holds(id_)))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(loads=LOADS, again=st.booleans(), settle=st.booleans())
def test_all_hold_the_same(loads, again, settle):
    """Versions, messages and losses in any groups, loaded once or again, settled at once or later: all three agree."""
    sources = [Source("one"), Source("two")]
    made = [[made_by(sources[which], segment) for segment in segments] for which, segments in loads]
    model = Memory()
    for batches in made:
        model.load(batches)
    with tempfile.TemporaryDirectory() as folder:
        for number, suite in enumerate(SUITES):
            there = Path(folder) / str(number)
            loaded = suite.load(there, *made, *(made if again else []), settle=settle)
            assert loaded == model.bookmarks()
            assert suite.contents(there) == model.contents()
