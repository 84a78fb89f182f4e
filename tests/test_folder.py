"""The data folder: ours or refused, private or shared, and cleared of what a killed run left."""

import errno
import os
import stat
from pathlib import Path

import pytest

from pipeline.errors import DiskError, FolderError, FolderInUseError
from pipeline.folder import DataFolder, owned


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_made_private(tmp_path):
    """Owning makes the folder and its private part, for the owner alone."""
    folder = DataFolder(tmp_path / "a" / "data")
    assert not folder.exists
    with owned(folder):
        assert folder.exists
        assert [mode(path) for path in (folder.root, folder.private, folder.scratch)] == [0o700] * 3
    assert folder.exists


def test_sharing_gives_passage_and_no_more(tmp_path):
    """With share = "group" the group may pass through the folder; the private part stays private."""
    folder = DataFolder(tmp_path / "data")
    with owned(folder, share=True):
        assert (mode(folder.root), mode(folder.private)) == (0o710, 0o700)


def test_an_empty_folder_is_taken_and_keeps_its_mode(tmp_path):
    """A folder that somebody made for us is used as it is."""
    (tmp_path / "data").mkdir(mode=0o755)
    with owned(DataFolder(tmp_path / "data")):
        assert mode(tmp_path / "data") == 0o755


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    """Where the folder itself cannot be read, who asks learns that it is the disk, and where."""

    def fail(folder):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(DiskError, match=f"the disk fails at {tmp_path}"):
        _ = DataFolder(tmp_path).exists


def test_the_folder_of_somebody_else_is_refused_untouched(tmp_path):
    """A folder that holds other files and no archive is not written into."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match="is not a data folder"), owned(DataFolder(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_killed_load_put_aside_is_removed(tmp_path):
    """Completions that DuckDB spilled are nothing that may stay: DuckDB itself removes them when it next spills."""
    folder = DataFolder(tmp_path / "data")
    with owned(folder):
        folder.spilled.mkdir()
        (folder.spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("said by somebody")
    with owned(folder):
        assert not folder.spilled.exists()


def test_a_file_is_no_folder(tmp_path):
    """Naming a file is said to be that."""
    (tmp_path / "data").write_text("")
    with pytest.raises(FolderError, match="is a file, not a folder"), owned(DataFolder(tmp_path / "data")):
        pass


@pytest.mark.parametrize("part", ["archive", ".writer"])
def test_a_folder_of_ours_may_hold_other_files_too(tmp_path, part):
    """Notes beside the archive are the owner's own affair."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / part).mkdir()
    with owned(DataFolder(tmp_path)):
        assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_killed_run_left_is_cleared_by_the_next_owner(tmp_path):
    """Temp files of a run that was killed go; nothing else in the private part does."""
    folder = DataFolder(tmp_path / "data")
    folder.scratch.mkdir(parents=True)
    (folder.scratch / "00000001.parquet.7.tmp").write_bytes(b"half")
    (folder.private / "warehouse.duckdb.wal.1").write_bytes(b"kept")
    with owned(folder):
        assert list(folder.scratch.iterdir()) == []
        assert (folder.private / "warehouse.duckdb.wal.1").read_bytes() == b"kept"


def test_temp_files_of_the_owner_are_not_cleared_by_a_second_run(tmp_path):
    """Whoever does not get the lock touches nothing."""
    folder = DataFolder(tmp_path / "data")
    with owned(folder):
        (folder.scratch / "x.tmp").write_bytes(b"being written")
        with pytest.raises(FolderInUseError), owned(folder):
            pass
        assert (folder.scratch / "x.tmp").read_bytes() == b"being written"
