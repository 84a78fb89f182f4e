"""What a first export says before it begins: how much there is, from both ends of the list, and whether it fits."""

from dataclasses import replace

import pytest

from pipeline.assemble import client
from pipeline.errors import DiskFullError
from pipeline.nightly import export
from pipeline.preview import estimate, look
from pipeline.sandbox.generate import month
from pipeline.stopping import Stop
from tests.cli.program import assert_one_message, pipeline, settings
from tests.e2e.place import NOW, Place, held

#: More than any disk has room for, as far as the two ends can tell: they are as dense as this, and decades apart.
DENSE = [1, 2, 3, NOW - 30, NOW - 20, NOW - 10]
TEXT = "x" * 100_000


@pytest.fixture
def place(tmp_path):
    """Serve what a test stores, next to no data folder."""
    with Place(tmp_path) as one:
        yield one


@pytest.fixture
def vast(place):
    """Serve a list that seems to go on and on."""
    for second in DENSE:
        place.add(second, 2, choices=[{"index": 0, "message": {"role": "assistant", "content": TEXT}}])
    return place


def preview_of(place, limit=100):
    """Ask for both ends and estimate."""
    source = place.source(limit=limit)
    with client(source, None, Stop()) as asking:
        return estimate(source.name, look(asking, limit), place.data)


@pytest.mark.parametrize("status", ["500", "401"])
def test_what_the_first_answer_showed_is_kept_where_the_second_fails(place, status):
    """The oldest end was shown before the newest one was refused: the run fails, and what was shown is held."""
    place.add(NOW - 600, 3)
    assert place.run(f"2-:{status}", bare=True, retry_attempts=1).exit_code in {75, 77}
    assert len(held(place.data)) == 3


def test_a_list_that_fits_a_page_is_counted(place):
    """The number is exact, and said to be."""
    place.add(NOW - 600, 3)
    place.add(NOW - 5, 4)
    told = preview_of(place)
    assert (told.completions, told.is_counted, told.requests) == (7, True, 1)
    assert (told.oldest, told.newest) == (NOW - 600, NOW - 5)
    assert "first export, 7 completions" in str(told)


def test_a_month_is_guessed_within_a_factor_of_two(place):
    """Nights, weekends and bursts included; the requests follow from the number."""
    month(place.store, completions=3000, until=NOW)
    told = preview_of(place)
    assert not told.is_counted
    assert len(place.store) / 2 <= told.completions <= 2 * len(place.store)
    assert told.requests == -(-told.completions // 99)


def test_an_empty_list_needs_no_preview(place):
    """Where there is nothing, nothing is announced."""
    announced = []
    assert preview_of(place) is None
    assert export(place.config(bare=True), announce=announced.append).exit_code == 0
    assert announced == []


def test_only_a_first_export_is_announced(place):
    """Once, before the walk; later runs know what they hold."""
    place.add(NOW - 600, 3)
    announced = []
    for _ in range(2):
        export(place.config(bare=True), announce=announced.append)
    assert [told.completions for told in announced] == [3]


def test_the_disk_decides(place):
    """What fits to the byte is let through; one byte more is refused with the numbers and what to do."""
    place.add(NOW - 5, 4)
    told = preview_of(place)
    replace(told, disk=told.free).insist_on_space(place.data)
    with pytest.raises(DiskFullError, match=r"needs about .* GB of disk") as refused:
        replace(told, disk=told.free + 1).insist_on_space(place.data)
    assert "--data" in refused.value.hint


def test_a_first_export_that_would_fill_the_disk_is_refused(vast, tmp_path):
    """75 before the first row is written, announced on stderr all the same; two requests were made."""
    done = pipeline("run", "--config", settings(tmp_path, vast, limit=3), "--data", vast.data)
    assert_one_message(done, 75, "its first export needs about", "GB are free")
    assert "prod: first export, about" in done.stderr
    assert vast.asked() == 2
    assert held(vast.data) == set()
    assert not [*vast.data.rglob("*.parquet")]


@pytest.mark.parametrize("fault", ["2-4:503:retry-after-ms=1", "2-4:400"])
def test_an_end_that_cannot_be_shown_does_not_stop_the_export(place, fault):
    """Where the server fails at the newest end, or refuses it, the walk goes its way and brings everything home."""
    place.add(NOW - 600, 3)
    place.add(NOW - 5, 4)
    result = place.run(fault, bare=True)
    assert (result.exit_code, held(place.data)) == (0, place.store.visible_ids())
