"""Anchors: where a walk may begin, newest first, each one with something held beyond it."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.held import ANCHORS, anchors
from pipeline.archive.segments import Archive

from .made import NOW, archive_in, keep, row


def seconds(found):
    return [anchor.created for anchor in found]


def test_anchors_are_older_than_asked_newest_first_and_further_and_further_apart(tmp_path):
    """The first is the nearest row before the second asked for; the distance doubles."""
    archive = archive_in(tmp_path)
    for night in range(10):
        keep(archive, *(row(f"r{second}", second) for second in range(night * 100, night * 100 + 100)))
    found = anchors(archive, 900)
    assert seconds(found) == [899, 898, 896, 892, 884, 868, 836, 772, 644, 388]
    assert [anchor.id for anchor in found] == [f"r{second}" for second in seconds(found)]


def test_many_small_segments_are_not_all_opened(tmp_path, monkeypatch):
    """However many nights are held, finding anchors opens no more segments than it chooses anchors."""
    archive = archive_in(tmp_path)
    for night in range(100):
        keep(archive, row(f"r{night}", night * 10))
    opened, columns = [], archive.columns
    monkeypatch.setattr(archive, "columns", lambda number, names: opened.append(number) or columns(number, names))
    assert seconds(anchors(archive, 990)) == [980, 970, 950, 910, 830, 670, 350]
    assert len(opened) == 7


def test_a_late_row_in_a_segment_of_its_own_hides_none_of_the_others(tmp_path):
    """A sweep finds a late row, and writes it behind the segment that it lies in: the newest rows stay the first."""
    archive = archive_in(tmp_path)
    keep(archive, *(row(f"r{second}", second) for second in range(0, 100, 2)))
    keep(archive, row("late", 31))
    assert seconds(anchors(archive, 98)) == [96, 92, 84, 68, 36, 31]


def test_a_row_alone_in_its_second_is_preferred(tmp_path):
    """A row with siblings is chosen only where no row is alone."""
    archive = archive_in(tmp_path)
    keep(archive, row("alone", 5), row("x", 7), row("y", 7), row("last", 9))
    assert [anchor.id for anchor in anchors(archive, 9)] == ["alone"]
    crowd = archive_in(tmp_path / "crowd")
    keep(crowd, row("x", 7), row("y", 7), row("last", 9))
    assert seconds(anchors(crowd, 9)) == [7, 7]


def test_something_is_held_beyond_every_anchor(tmp_path):
    """The newest second held is no anchor: nothing could prove it."""
    archive = archive_in(tmp_path)
    keep(archive, row("a", 5), row("b", 6), row("c", 7))
    assert seconds(anchors(archive, NOW)) == [6, 5]
    lonely = archive_in(tmp_path / "lonely")
    keep(lonely, row("a", 5))
    assert anchors(lonely, NOW) == []


def test_rows_without_id_or_second_are_no_anchors(tmp_path):
    """What the server could not find again cannot be asked behind."""
    archive = archive_in(tmp_path)
    keep(archive, row("no-id:abc", 5), row("undated", None), row("good", 6), row("last", 9))
    assert [anchor.id for anchor in anchors(archive, 9)] == ["good"]


def test_what_is_not_listed_any_more_is_no_anchor(tmp_path):
    """Those that went are left out, and their place is taken by the next; a sibling that went blurs nothing."""
    archive = archive_in(tmp_path)
    keep(archive, *(row(f"r{second}", second) for second in range(100)), row("sibling", 50))
    went = {*(f"r{second}" for second in range(60, 100)), "sibling"}
    assert seconds(anchors(archive, 99, went))[:3] == [59, 58, 56]
    assert 50 not in seconds(anchors(archive, 51))
    assert seconds(anchors(archive, 51, went))[0] == 50


def test_nothing_held_gives_no_anchor(tmp_path):
    """A first walk begins at the beginning."""
    assert anchors(archive_in(tmp_path), NOW) == []


@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), max_size=6), st.integers(0, 70))
def test_anchors_keep_their_promise(tmp_path_factory, nights, before):
    """Whatever lies in which segment: held rows, strictly older, in falling order, never too many, one where any is."""
    archive = Archive(tmp_path_factory.mktemp("anchors"), "prod", scratch=tmp_path_factory.mktemp("scratch"))
    for number, night in enumerate(nights):
        keep(archive, *(row(f"{number}-{place}", second) for place, second in enumerate(sorted(night))))
    held = sorted(second for night in nights for second in night)
    found = seconds(anchors(archive, before))
    possible = [second for second in held if second < min(before, held[-1])]
    assert found == sorted(found, reverse=True)
    assert set(found) <= set(possible)
    assert len(found) <= ANCHORS
    assert bool(found) == bool(possible)
