"""Segments: what is written is read back, what is not ours is refused by name, and nothing that is written changes."""

import hashlib
from dataclasses import asdict, replace

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.archive import segments
from pipeline.archive.segments import Archive
from pipeline.errors import FolderError
from pipeline.failpoints import FailpointError
from pipeline.handoff import Account, Span

from .made import NOW, archive_in, bodies, intake_of, keep, reading, receive, row

SPANS = (Span(None, NOW - 10, NOW - 5), Span(NOW - 10, NOW, NOW, (NOW - 7, NOW - 3)))


def path_of(folder, number):
    return folder / "archive" / "prod" / f"{number:08d}.parquet"


def test_a_footer_is_read_back_as_it_was_written(tmp_path):
    """Spans, fingerprint, account and bounds survive the way to the file and back."""
    archive = archive_in(tmp_path)
    intake = intake_of(archive)
    receive(intake, row("a", NOW - 9), row("b", NOW - 1), row("no-id:1", None))
    written = intake.cut(reading(*SPANS, account=Account("org", "proj")), run=("run-1", b"{}"))
    assert archive_in(tmp_path).footers == [written]
    assert (written.completions, written.first, written.last, written.undated) == (3, NOW - 9, NOW - 1, 1)
    assert (written.number, written.source, written.reading.spans) == (1, "prod", SPANS)
    assert archive_in(tmp_path).account == Account("org", "proj")


def test_rows_are_read_back_byte_for_byte(tmp_path):
    """A body is kept as received, whatever its bytes, in the order of arrival."""
    odd = [b'{"id" : "a"}', b'{"a":1,"a":2}', b"\xff\x00", b"[" * 2000, "\u2028é".encode()]
    rows = [msgspec.structs.replace(row(f"r{n}"), body=body) for n, body in enumerate(odd)]
    keep(archive_in(tmp_path), *rows)
    assert [body for _, body in bodies(archive_in(tmp_path))] == odd


def test_notes_of_the_run_are_rows_of_the_segment(tmp_path):
    """Coverage and the run's own words are archived with the rows they speak of."""
    archive = archive_in(tmp_path)
    intake_of(archive).cut(reading(*SPANS), run=("run-1", b'{"new":0}'))
    table = archive_in(tmp_path).read(1).table
    kinds = list(zip(table["kind"].to_pylist(), table["id"].to_pylist(), strict=True))
    assert kinds == [("coverage", ""), ("coverage", ""), ("run", "run-1")]
    told = [msgspec.json.decode(body, type=Span) for body in table["body"].to_pylist()[:2]]
    assert tuple(told) == SPANS


def test_segments_without_a_record_of_a_run_are_not_opened_for_one(tmp_path, monkeypatch):
    """Runs are found, newest first; a segment is opened only where it holds one, or an older version did not count."""
    archive = archive_in(tmp_path)
    for number, run in enumerate([("run-1", b"1"), None, ("run-3", b"3"), None], 1):
        with monkeypatch.context() as older:
            if number > 2:
                describe = segments._describe
                older.setattr(segments, "_describe", lambda *told, of=describe: replace(of(*told), runs=None))
            intake = intake_of(archive)
            receive(intake, row(f"r{number}"))
            intake.cut(reading(), run=run)
    archive, opened = archive_in(tmp_path), []
    notes = Archive.notes
    monkeypatch.setattr(Archive, "notes", lambda self, number: opened.append(number) or notes(self, number))
    assert [footer.runs for footer in archive.footers] == [1, 0, None, None]
    assert list(archive.runs()) == [(3, b"3"), (1, b"1")]
    assert opened == [4, 3, 1]
    assert [
        segments.recomputed(archive.columns(footer.number), footer) for footer in archive.footers
    ] == archive.footers


def test_an_archive_never_written_is_empty(tmp_path):
    """A source without a folder has no segment, no position and no account, and opening it makes nothing."""
    archive = archive_in(tmp_path)
    assert (archive.last, archive.position("f"), archive.account, list(archive.after(0))) == (0, None, Account(), [])
    assert list(tmp_path.iterdir()) == []


def test_segments_never_change(tmp_path):
    """Later segments, new versions among them, leave the bytes of every earlier one alone."""
    digests = []
    for version in range(4):
        keep(archive_in(tmp_path), row("a", version=version), row(f"b{version}"))
        files = sorted(path_of(tmp_path, 1).parent.glob("*.parquet"))
        now = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        assert now[:-1] == digests
        digests = now
    assert [footer.number for footer in archive_in(tmp_path).footers] == [1, 2, 3, 4]


def test_coverage_speaks_of_its_own_fingerprint_only(tmp_path):
    """What was read under other filters does not move the position under these."""
    archive = archive_in(tmp_path)
    intake_of(archive).cut(reading(Span(None, 100, 200), fingerprint="one"))
    intake_of(archive).cut(reading(Span(None, 50, 200), fingerprint="two"))
    assert (archive.position("one"), archive.position("two"), archive.position("three")) == (100, 50, None)


DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "no Parquet": lambda _: b"hello, I am a text file",
    "zeroes at the end": lambda data: data[:-40] + bytes(40),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_named(tmp_path, damage):
    """A segment that cannot be read is one clear error that names the file and says what to do."""
    keep(archive_in(tmp_path), row("a"))
    path = path_of(tmp_path, 1)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(FolderError, match="restore this file") as raised:
        archive_in(tmp_path)
    assert str(path) in raised.value.message


def test_a_segment_damaged_behind_a_whole_footer_is_named(tmp_path):
    """Damage in the middle of the file is found when its rows are read, and named as well."""
    keep(archive_in(tmp_path), *(row(f"r{n}", text="x" * n) for n in range(500)))
    path = path_of(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(FolderError, match="restore this file") as raised:
        archive_in(tmp_path).read(1)
    assert str(path) in raised.value.message


def test_a_parquet_file_of_somebody_else_is_named(tmp_path):
    """A Parquet file without our footer is not taken for a segment."""
    keep(archive_in(tmp_path), row("a"))
    pq.write_table(pa.table({"a": [1]}), path_of(tmp_path, 2))
    with pytest.raises(FolderError, match="00000002"):
        archive_in(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    """A segment that a newer version wrote is not guessed at; the message names both formats."""
    archive = archive_in(tmp_path)
    keep(archive, row("a"))
    footer = {**asdict(archive.footers[0]), "format": 3, "something": "new"}
    table = archive.columns(1).replace_schema_metadata({b"pipeline.segment": msgspec.json.encode(footer)})
    pq.write_table(table, path_of(tmp_path, 1))
    with pytest.raises(FolderError, match=r"format 3, this version knows formats up to 2") as raised:
        archive_in(tmp_path)
    assert "newer version" in raised.value.hint


def test_other_files_beside_segments_are_let_be(tmp_path):
    """Only names of eight digits are segments."""
    keep(archive_in(tmp_path), row("a"))
    for name in ("notes.txt", "1.parquet", "00000002.parquet.tmp", "x00000002.parquet"):
        (path_of(tmp_path, 1).parent / name).write_text("mine")
    assert [footer.number for footer in archive_in(tmp_path).footers] == [1]


@pytest.mark.parametrize(("place", "kept"), [("files.written", 0), ("files.synced", 0), ("files.renamed", 1)])
def test_a_segment_is_there_whole_or_not_at_all(tmp_path, place, kept):
    """A failure at any step of the write leaves a whole segment or none, and no temp file."""
    archive = archive_in(tmp_path)
    with failpoints.armed(f"{place}=raise"), pytest.raises(FailpointError):
        keep(archive, row("a"))
    assert archive_in(tmp_path).last == kept
    assert list((tmp_path / "scratch").iterdir()) == []
    keep(archive, row("a"), row("b"))
    assert [id_ for id_, _ in bodies(archive_in(tmp_path))] == ["a", "b"]


def test_sources_of_an_archive_are_its_folders(tmp_path):
    """Sources are known by what lies there, also those that no configuration names any more."""
    keep(archive_in(tmp_path), row("a"))
    (tmp_path / "archive" / "a-file").write_text("")
    assert segments.sources(tmp_path / "archive") == ["prod"]
    assert segments.sources(tmp_path / "nothing") == []
