"""The intake: each version is kept once, and every row received is counted as what it was."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import failpoints
from pipeline.archive.segments import Archive
from pipeline.errors import FolderError
from pipeline.failpoints import FailpointError
from pipeline.handoff import Row, Span

from .made import NOW, archive_in, bodies, intake_of, keep, reading, receive, row


def counted(intake):
    counts = intake.counts
    return counts.new, counts.changed, counts.skipped


def received(archive, *bodies_):
    """Take each body as a page of its own, as one run, of one completion."""
    intake = intake_of(archive)
    for body in bodies_:
        receive(intake, Row("a", NOW, body))
    intake.cut(reading())
    return counted(intake)


def test_new_changed_and_skipped_are_told_apart(tmp_path):
    """A row not held is new, one held otherwise is changed, one held alike is skipped and not written again."""
    archive = archive_in(tmp_path)
    keep(archive, row("same", text="x"), row("other", text="x"))
    intake = intake_of(archive)
    assert receive(intake, row("same", text="x"), row("other", text="y"), row("new")) == {"same", "other"}
    intake.cut(reading())
    assert counted(intake) == (1, 1, 1)
    assert [id_ for id_, _ in bodies(archive)] == ["same", "other", "other", "new"]


def test_rows_from_the_newest_end_make_a_segment_of_their_own(tmp_path):
    """Each segment holds one stretch of seconds; the one with the span comes last, and what is there stays known."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("old", 10))
    receive(intake, row("new", 900), from_newest=True)
    receive(intake, row("older", 20), row("new", 900, text="edited"))
    span = Span(None, 20, NOW)
    intake.cut(reading(span))
    assert [(footer.first, footer.last, footer.reading.spans) for footer in archive.footers] == [
        (900, 900, ()),
        (10, 900, (span,)),
    ]
    again = receive(intake, row("old", 10), row("older", 20), row("new", 900, text="edited"), from_newest=True)
    assert again == {"old", "older", "new"}
    intake.cut(reading())
    assert counted(intake) == (3, 1, 0)
    assert [id_ for id_, _ in bodies(archive)] == ["new", "old", "older", "new"]


def test_a_cut_that_fails_between_its_two_segments_doubles_nothing(tmp_path):
    """Where only the rows from the newest end could be written, cutting again writes the others only."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("old", 10))
    receive(intake, row("new", 900), from_newest=True)
    with failpoints.armed("archive.cut=raise:2"), pytest.raises(FailpointError):
        intake.cut(reading())
    archive_in(tmp_path).path(2).unlink()  # as if it had not been written
    intake.cut(reading())
    assert [id_ for id_, _ in bodies(archive)] == ["new", "old"]


@pytest.mark.parametrize("from_newest", [False, True])
def test_a_cut_that_cannot_be_entered_doubles_nothing(tmp_path, from_newest):
    """Where a segment is written and its ledger is not, cutting again writes nothing twice, and enters it as well."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("old", 10))
    receive(intake, row("new", 900), from_newest=from_newest)
    ledger = archive.path(1).with_name("ledger.jsonl")
    ledger.mkdir(parents=True)  # no file can take its place
    with pytest.raises(FolderError):
        intake.cut(reading())
    ledger.rmdir()
    receive(intake, row("old", 10), row("new", 900))
    intake.cut(reading())
    assert sorted(id_ for id_, _ in bodies(archive_in(tmp_path))) == ["new", "old"]
    assert archive_in(tmp_path).entries.keys() == {footer.number for footer in archive.footers}


def test_a_span_needs_the_segment_before_it(tmp_path):
    """Where a segment is lost, the spans of the next one are not believed: they may speak of rows in the lost one."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("old", 10))
    receive(intake, row("new", 900), from_newest=True)
    intake.cut(reading(Span(None, NOW, NOW)))
    assert archive_in(tmp_path).position("f") == NOW
    archive.path(1).unlink()
    assert archive_in(tmp_path).position("f") is None


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        (b'{"a":1,"b":[1,2]}', b'{"b": [1, 2], "a": 1}'),
        (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()),
        (b'{"a":{"x":1,"y":null}}', b'{"a":{"y":null,"x":1}}'),
        (b'{"seed":4944116822809979520}', b'{ "seed" : 4944116822809979520 }'),
        (b'{"a":1.0}', b'{"a":1.00}'),
    ],
)
def test_the_same_json_in_other_bytes_is_no_new_version(tmp_path, held, sent):
    """Key order, white space and escapes are the writer's affair, not the completion's."""
    archive = archive_in(tmp_path)
    assert received(archive, held) == (1, 0, 0)
    assert received(archive, sent) == (0, 0, 1)
    assert bodies(archive) == [("a", held)]


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        (b'{"a":1}', b'{"a":true}'),
        (b'{"a":0}', b'{"a":false}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"seed":9007199254740993}', b'{"seed":9007199254740992}'),
        (b'{"a":""}', b'{"a":null}'),
        (b"not json", b"not json either"),
    ],
)
def test_other_json_is_a_new_version(tmp_path, held, sent):
    """Values that a sloppy comparison calls equal are told apart; so are bytes that are no JSON."""
    archive = archive_in(tmp_path)
    received(archive, held)
    assert received(archive, sent) == (0, 1, 0)
    assert bodies(archive) == [("a", held), ("a", sent)]


def test_an_edit_taken_back_is_a_new_version(tmp_path):
    """A row is compared with its latest state, never with an earlier one, within a run and across runs."""
    one, two = b'{"m":1}', b'{"m":2}'
    archive = archive_in(tmp_path)
    assert received(archive, one, two, one) == (1, 2, 0)
    assert received(archive_in(tmp_path), two) == (0, 1, 0)
    assert received(archive_in(tmp_path), one, one) == (0, 1, 0)
    assert [body for _, body in bodies(archive_in(tmp_path))] == [one, two, one, two, one]


def test_versions_tell_what_they_replace(tmp_path):
    """first_seen stays, is_version and previous_created speak of the version before."""
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(10))
    archive = archive_in(tmp_path)
    for fields in ({"version": 1}, {"version": 2}):
        intake = intake_of(archive, now=lambda: next(moments))
        receive(intake, row("a", NOW, **fields))
        intake.cut(reading())
    first, second = (archive.columns(number).to_pylist()[0] for number in (1, 2))
    assert (first["is_version"], first["previous_created"]) == (False, None)
    assert (second["is_version"], second["previous_created"]) == (True, NOW)
    assert first["first_seen"] == second["first_seen"] == first["fetched_at"] < second["fetched_at"]


def test_lateness_is_measured_against_the_position(tmp_path):
    """The latest late row counts: new, and created no later than what former runs had read to."""
    archive = archive_in(tmp_path)
    keep(archive, row("held", NOW - 900))
    counts = keep(
        archive,
        row("held", NOW - 900),
        row("late", NOW - 40),
        row("later", NOW - 70),
        row("new", NOW + 5),
        position=NOW,
    )
    assert counts.largest_lateness == 70
    assert keep(archive, row("newer", NOW + 9), position=NOW).largest_lateness is None
    assert keep(archive, row("first", NOW - 999), position=None).largest_lateness is None


def test_a_row_the_walk_repeats_is_counted_once(tmp_path):
    """Pages overlap by design; neither new nor skipped rows count twice for it, nor rows met by reading back."""
    archive = archive_in(tmp_path)
    keep(archive, *(row(f"r{second}", second) for second in range(10)))
    intake = intake_of(archive)
    for first in (0, 3, 6, 3, 6):
        receive(
            intake,
            *(row(f"r{second}", second) for second in range(first, min(first + 4, 10))),
            row(f"new{first}", first),
        )
    assert counted(intake) == (3, 0, 10)


def test_a_segment_is_full_by_the_bytes_of_its_bodies(tmp_path):
    """Only what is kept counts; after a cut the next segment begins empty."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive, segment_size=100)
    small = Row("a", NOW, b"x" * 60)
    receive(intake, small)
    receive(intake, small)
    assert not intake.is_full
    receive(intake, Row("b", NOW, b"y" * 40))
    assert intake.is_full
    intake.cut(reading())
    assert not intake.is_full


def test_versions_of_one_run_may_lie_in_several_segments(tmp_path):
    """After a cut a row is compared with what was just written."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive, segment_size=1)
    for body in (b'{"m":1}', b'{"m":2}', b'{ "m":2}', b'{"m":1}'):
        receive(intake, Row("a", NOW, body))
        intake.cut(reading())
    assert counted(intake) == (1, 2, 0)
    assert [body for _, body in bodies(archive)] == [b'{"m":1}', b'{"m":2}', b'{"m":1}']


def test_a_cut_that_could_not_be_written_may_be_tried_again(tmp_path):
    """The rows stay, and the notes of the attempt that failed do not."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("a"))
    with failpoints.armed("files.synced=raise"), pytest.raises(FailpointError):
        intake.cut(reading(Span(None, 5, 9)))
    intake.cut(reading(Span(None, 6, 9)), run=("run", b"{}"))
    assert archive_in(tmp_path).read(1).table["kind"].to_pylist() == ["completion", "coverage", "run"]


@pytest.mark.parametrize(("held", "sent"), [(NOW, None), (None, NOW), (None, None), (NOW - 9999, None)])
def test_a_row_without_created_is_found_wherever_it_is_held(tmp_path, held, sent):
    """Among all that are held: an id is taken as new once, whatever its created was or becomes."""
    archive = archive_in(tmp_path)
    keep(archive, row("a", held), row("b", NOW - 500))
    keep(archive, *(row(f"r{second}", second) for second in range(NOW - 10, NOW)))
    intake = intake_of(archive_in(tmp_path))
    assert receive(intake, row("a", sent), row("c", NOW + 5)) == {"a"}
    intake.cut(reading())
    assert counted(intake) == ((1, 0, 1) if held == sent else (1, 1, 0))
    assert [id_ for id_, _ in bodies(archive_in(tmp_path))].count("a") == 1 + (held != sent)


pages = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=8)


@given(st.lists(st.lists(pages, min_size=1, max_size=3), min_size=1, max_size=4), st.integers(1, 80))
def test_every_version_shown_is_kept_once_and_counted(tmp_path_factory, nights, segment_size):
    """Model: per id the versions shown, in order, without the repetitions."""
    folder = tmp_path_factory.mktemp("intake")
    shown = {}
    for night in nights:
        archive = archive_in(folder)
        intake = intake_of(archive, segment_size=segment_size)
        new = changed = 0
        for shown_page in night:
            rows = sorted(
                (row(f"r{second}", second, v=version) for second, version in shown_page), key=lambda r: r.created
            )
            receive(intake, *rows)
            for one in rows:
                before = shown.setdefault(one.id, [])
                new += not before
                changed += bool(before) and before[-1] != one.body
                if not before or before[-1] != one.body:
                    before.append(one.body)
            if intake.is_full:
                intake.cut(reading())
        intake.cut(reading())
        assert counted(intake)[:2] == (new, changed)
    kept = {}
    for id_, body in bodies(archive_in(folder)):
        kept.setdefault(id_, []).append(body)
    assert kept == shown
    assert all(json.loads(body)["id"] == id_ for id_, versions in kept.items() for body in versions)


def test_a_fresh_archive_is_the_same_as_the_one_that_wrote(tmp_path):
    """What an intake has written is what an archive opened anew knows."""
    archive = archive_in(tmp_path)
    keep(archive, row("a"), row("b"))
    assert archive.footers == Archive(tmp_path / "archive", "prod", scratch=tmp_path / "scratch").footers
