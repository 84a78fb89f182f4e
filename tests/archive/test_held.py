"""What is held of an id: the latest state, found through a window that moves with the walk and stays small."""

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.held import Held
from pipeline.archive.segments import Archive

from .made import NOW, archive_in, intake_of, keep, reading, receive, row


def hash_of(one):
    return hashlib.sha256(one.body).digest()


def test_the_latest_of_several_versions_is_held(tmp_path):
    """Of an id in several segments the last one written counts."""
    archive = archive_in(tmp_path)
    for version in (1, 2, 3):
        keep(archive, row("a", NOW, version=version), row(f"other-{version}", NOW + version))
    held = Held(archive)
    held.cover(NOW, NOW)
    state = held.state("a")
    assert (state.segment, state.content_hash) == (3, hash_of(row("a", NOW, version=3)))
    assert held.state("nobody") is None


def test_first_seen_is_that_of_the_first_version(tmp_path):
    """However many versions follow, the moment of the first one stays."""
    archive = archive_in(tmp_path)
    keep(archive, row("a", version=1))
    first = archive.columns(1)["first_seen"].cast("int64").to_pylist()[0]
    keep(archive_in(tmp_path), row("a", version=2))
    held = Held(archive_in(tmp_path))
    held.cover(NOW, NOW)
    assert held.state("a").first_seen == first


@pytest.mark.parametrize("window", [1, 3, 100])
def test_everything_held_is_told_once(tmp_path, window):
    """Every dated state is told in its latest form, whatever fits into memory at a time; what went is left out."""
    archive = archive_in(tmp_path)
    for night in range(8):
        keep(archive, *(row(f"r{second}", second) for second in range(night * 10, night * 10 + 12)))
    intake = intake_of(archive)
    receive(intake, row("r40", 40, version=2), row("undated", None))
    intake.mark("gone", "r7", 7, datetime.now(UTC), b"{}")
    intake.cut(reading())
    told = [(id_, state.segment) for id_, state in Held(archive, window=window).all()]
    assert sorted(id_ for id_, _ in told) == sorted(f"r{second}" for second in range(82) if second != 7)
    assert ("r40", 9) in told
    assert list(Held(archive_in(tmp_path / "empty")).all()) == []


def test_undated_rows_are_held_wherever_the_window_is(tmp_path):
    """A row whose created could not be read is known at once and stays known."""
    archive = archive_in(tmp_path)
    keep(archive, row("undated", None), row("dated", NOW))
    held = Held(archive)
    assert held.state("undated").segment == 1
    held.cover(NOW + 10, NOW + 20)
    held.forget_before(NOW + 15)
    assert held.state("undated").segment == 1
    assert held.state("dated") is None


def test_a_row_that_loses_its_second_is_known_by_its_later_state(tmp_path):
    """Where one version is dated and another is not, the later one counts, either way round."""
    archive = archive_in(tmp_path)
    keep(archive, row("a", NOW), row("b", None))
    keep(archive, row("a", None, changed=1), row("b", NOW))
    held = Held(archive)
    held.cover(NOW, NOW)
    assert (held.state("a").created, held.state("a").segment) == (None, 2)
    assert (held.state("b").created, held.state("b").segment) == (NOW, 2)


def long_archive(tmp_path, segments=20, each=50):
    """Rows a second apart, in segments one behind the other."""
    archive = archive_in(tmp_path)
    for number in range(segments):
        keep(archive, *(row(f"r{second}", second) for second in range(number * each, (number + 1) * each)))
    return archive


def test_a_walk_holds_a_bounded_number_of_ids(tmp_path):
    """Walking over everything held, every row is known when its page comes, and few are held at a time."""
    archive = long_archive(tmp_path)
    held = Held(archive, window=120)
    most = 0
    for first in range(0, 1000, 10):
        held.cover(first, first + 9)
        assert all(held.state(f"r{second}") for second in range(first, first + 10))
        most = max(most, len(held._states))
    assert most <= 200


def test_the_window_is_read_again_where_a_walk_goes_back(tmp_path):
    """A retreat behind what was forgotten finds it again."""
    held = Held(long_archive(tmp_path), window=120)
    held.cover(900, 910)
    held.forget_before(905)
    assert held.state("r901") is None
    held.cover(30, 40)
    assert held.state("r35").segment == 1
    held.cover(900, 901)
    assert held.state("r901").segment == 19


def test_a_walk_from_the_newest_end_leaves_later_rows_behind(tmp_path):
    """What lies behind a walk to older rows is let go of, and read again should it be asked for."""
    held = Held(long_archive(tmp_path, segments=6))
    held.cover(0, 300)
    held.forget_after(200)
    assert held.state("r250") is None
    assert held.state("r150").segment == 4
    held.cover(240, 260)
    assert held.state("r250").segment == 6


def test_a_page_wider_than_the_window_is_known_whole(tmp_path):
    """However few ids the window allows, all of the page that is asked about are there."""
    held = Held(long_archive(tmp_path, segments=6), window=10)
    held.cover(20, 280)
    assert all(held.state(f"r{second}") for second in range(20, 281))


def test_what_is_not_written_yet_survives_the_window(tmp_path):
    """A version that was taken and not yet cut is known when the window has moved, and wins over the one written."""
    archive = long_archive(tmp_path, segments=6)
    held = Held(archive, window=60)
    held.cover(100, 110)
    taken = msgspec.structs.replace(held.state("r100"), content_hash=b"taken", segment=archive.last + 1)
    held.add("r100", taken)
    held.cover(250, 260)
    held.cover(90, 100)
    assert held.state("r100") == taken


def test_a_walk_that_goes_back_finds_what_it_has_just_taken(tmp_path):
    """New versions are known on every later page of the walk, forwards and backwards."""
    archive = long_archive(tmp_path, segments=4)
    intake = intake_of(archive)
    receive(intake, row("r100", 100, edited=True), row("new", 100))
    receive(intake, row("r180", 180))
    assert receive(intake, row("r100", 100, edited=True), row("new", 100)) == {"r100", "new"}
    assert (intake.counts.new, intake.counts.changed) == (1, 1)


@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=6), max_size=6), st.integers(1, 8))
def test_every_state_is_the_latest_whatever_the_window(tmp_path_factory, nights, window):
    """Model: a plain dict of the last version of each id; a row keeps its created."""
    archive = Archive(tmp_path_factory.mktemp("held"), "prod", scratch=tmp_path_factory.mktemp("scratch"))
    latest = {}
    for night in nights:
        intake = intake_of(archive)
        rows = sorted(
            (row(f"r{second}", second, version=version) for second, version in night), key=lambda r: r.created
        )
        receive(intake, *rows)
        latest |= {one.id: hash_of(one) for one in rows}
        intake.cut(reading())
    held = Held(archive, window=window)
    for second in range(13):
        held.cover(second, second)
        state = held.state(f"r{second}")
        assert (state.content_hash if state else None) == latest.get(f"r{second}")
