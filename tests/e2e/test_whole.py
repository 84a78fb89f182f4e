"""Over real sockets: what archive, Parquet and DuckDB hold is what the server lists, each completion once."""

import random
from contextlib import closing
from datetime import UTC, datetime

import pytest

import pipeline
from pipeline.sandbox.recordings import load
from pipeline.sandbox.shape import Shape
from tests.sandbox.asking import NOW as AFTER_THE_RECORDINGS
from tests.sandbox.asking import RECORDINGS, needs_recordings

from .place import NOW, Place, archived, held, in_parquet, in_snapshot

LIMITS = (1, 2, 3, 7, 20, 50, 99, 100)
FAST = (1, 7, 50, 100)
SHAPES = [Shape(cursor=cursor, default_order=order) for cursor in ("second", "exact") for order in ("desc", "asc")]
#: The fast tests have every shape with one limit, from the smallest to the largest; the slow ones all pairs.
PAIRS = [
    pytest.param(
        limit,
        shape,
        marks=() if limit == FAST[number] else pytest.mark.slow,
        id=f"{limit}-{shape.cursor}-{shape.default_order}",
    )
    for limit in LIMITS
    for number, shape in enumerate(SHAPES)
]


def assert_equal(place):
    """Check that all three hold what the server lists, once each."""
    listed = sorted(place.store.visible_ids())
    assert sorted(str(row["id"]) for row in archived(place.data)) == listed
    assert in_parquet(place.data) == listed
    assert in_snapshot(place.data) == listed


def fill(place, groups):
    """Store groups of completions, a minute apart."""
    for number, size in enumerate(groups):
        place.add(NOW - 3600 + 60 * number, size)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "shape"), PAIRS)
def test_rows_come_home_while_others_arrive(tmp_path, limit, shape):
    """Groups up to the largest page, and rows arriving anywhere during the walk: equal after the next run."""
    rng = random.Random(limit)
    with Place(tmp_path, shape) as place:
        fill(place, [1, 2, 1, 5, 20, 1, 99, 1, 3, 1])
        from_the_start = place.store.visible_ids()
        place.meddle = lambda _: rng.random() < 0.3 and place.add(rng.randrange(NOW - 3599, NOW, 2))
        assert place.run(limit=limit).exit_code == 0
        assert from_the_start <= held(place.data)
        place.meddle = None
        late = place.store.visible_ids() - held(place.data)
        result = place.run(limit=limit)
        assert (result.exit_code, result.sources[0].new) == (0, len(late))
        assert_equal(place)


@pytest.mark.parametrize("size", [pytest.param(100, marks=pytest.mark.slow), 150])
def test_a_second_beyond_the_largest_page_is_named_until_it_is_shown_whole(tmp_path, size):
    """The run that meets it ends with 3; later ones with 0, and still say it; never a silent difference."""
    with Place(tmp_path, Shape(cursor="second")) as place:
        fill(place, [3, size, 3])
        second = f"{datetime.fromtimestamp(NOW - 3540, UTC):%Y-%m-%dT%H:%M:%SZ}"
        first, again = place.run(), place.run()
        assert (first.exit_code, again.exit_code) == (3, 0)
        assert "possibly-incomplete" in {finding.code for finding in first.sources[0].findings}
        place.clock.advance(86_400)
        later = place.run()
        assert later.exit_code == 0
        for told in (first.sources[0], again.sources[0], later.sources[0], place.status()):
            assert (told.complete, told.why_not) == (False, f"possibly incomplete: {second}")
        with closing(pipeline.connect(place.data)) as connection:
            fresh = connection.execute("SELECT complete, why_not FROM freshness").fetchall()
        assert fresh == [(False, f"possibly incomplete: {second}")]


@pytest.mark.slow
def test_an_exact_cursor_brings_any_second_home(tmp_path):
    """Where the server continues right behind a row, a second beyond the largest page is whole and not in doubt."""
    with Place(tmp_path, Shape(cursor="exact")) as place:
        fill(place, [3, 250, 3])
        result = place.run()
        assert (result.exit_code, result.sources[0].complete) == (0, True)
        assert_equal(place)


@needs_recordings
@pytest.mark.parametrize("limit", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_the_recorded_completions_come_home_whole(place, limit):
    """The union of the recorded walks, behind the cursor that lost rows of it: none is lost."""
    place.clock.now = AFTER_THE_RECORDINGS
    load(place.store, RECORDINGS / "list-walks.jsonl")
    assert place.run(limit=limit).exit_code == 0
    assert len(held(place.data)) == 373
    assert_equal(place)


def test_only_what_is_new_comes_again(place):
    """A run without news keeps nothing, and a later one keeps only the new and the edited."""
    first = place.add(NOW - 900, 3)
    place.run()
    nothing = place.run().sources[0]
    assert (nothing.new, nothing.changed, nothing.complete) == (0, 0, True)
    place.add(NOW - 60)
    place.store.edit(first[0], {"team": "search"})
    some = place.run().sources[0]
    assert (some.new, some.changed) == (1, 1)
    assert len(archived(place.data)) == 5
    assert in_parquet(place.data) == in_snapshot(place.data) == sorted(place.store.visible_ids())
