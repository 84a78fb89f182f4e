"""Remembered footers: no file is opened again for what is known of it, and none that changed is taken for the same."""

import os

import pyarrow.parquet as pq
import pytest

from pipeline.archive import footers
from pipeline.archive.segments import Archive
from pipeline.errors import FolderError

from .made import archive_in, keep, row


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Hold three segments whose footers were read, and written down, by a writer."""
    monkeypatch.setattr(footers, "ENOUGH", 2)
    for number in range(3):
        keep(archive_in(tmp_path), row(f"id-{number}"))
    opened(tmp_path).enter()
    return tmp_path


def opened(folder):
    return Archive(folder / "archive", "prod", scratch=folder / "scratch", memory=folder / "footers" / "prod.json")


@pytest.fixture
def read(monkeypatch):
    """List the files whose footers are read from the files themselves."""
    seen, real = [], pq.read_metadata

    def read_metadata(path, **options):
        seen.append(path.name)
        return real(path, **options)

    monkeypatch.setattr(pq, "read_metadata", read_metadata)
    return seen


def test_what_is_known_is_not_read_again(folder, read):
    """Opening the archive again reads no file, and tells the same."""
    assert opened(folder).footers == archive_in(folder).footers
    assert read == [f"{number:08d}.parquet" for number in (1, 2, 3)]


def test_what_is_new_is_read(folder, read):
    """A segment that came since is read until there are enough of them to be written down."""
    keep(archive_in(folder), row("new"))
    before = (folder / "footers" / "prod.json").read_bytes()
    read.clear()
    archive = opened(folder)
    archive.enter()
    assert ([footer.number for footer in archive.footers], read) == ([1, 2, 3, 4], ["00000004.parquet"])
    assert (folder / "footers" / "prod.json").read_bytes() == before
    keep(archive_in(folder), row("newer"))
    opened(folder).enter()
    read.clear()
    assert len(opened(folder).footers) == 5
    assert not read


def _written_anew(path):
    path.write_bytes(path.read_bytes())


def _set_back(path):
    before = path.stat()
    _written_anew(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_written_anew, _set_back])
def test_a_file_that_was_touched_is_read_again(folder, read, change):
    """Whatever was done to it: the size may be the same, and the time of change may be set back."""
    change(archive_in(folder).path(2))
    read.clear()
    assert len(opened(folder).footers) == 3
    assert read == ["00000002.parquet"]


def test_a_file_that_is_damaged_is_told(folder):
    """What was remembered of a file hides no damage that was done to it."""
    path = archive_in(folder).path(2)
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    with pytest.raises(FolderError, match=r"00000002\.parquet cannot be read"):
        opened(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"footers":{"1":[[1,2,3,4],"{}"]},"seal":"x"}', b"\xff"])
def test_a_memory_that_is_no_memory(folder, read, content):
    """A file that is damaged is as if it were not there; one that cannot be written hinders nobody."""
    path = folder / "footers" / "prod.json"
    path.write_bytes(content)
    assert len(opened(folder).footers) == 3
    assert len(read) == 3
    path.unlink()
    path.mkdir()
    opened(folder).enter()


def test_nothing_is_remembered_of_few(folder, monkeypatch):
    """A night writes nothing down: only what saves more than it costs."""
    monkeypatch.setattr(footers, "ENOUGH", 4)
    (folder / "footers" / "prod.json").unlink()
    opened(folder).enter()
    assert not (folder / "footers" / "prod.json").exists()
