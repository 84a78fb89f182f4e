"""Files appear whole or not at all, and one run at a time owns a data folder."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys

import pytest

from pipeline import failpoints, files
from pipeline.errors import DiskError, DiskFullError, FolderInUseError, RefusedError
from pipeline.failpoints import FailpointError

STEPS = ("files.written", "files.synced", "files.renamed")


def write(folder, content, **how):
    files.write_whole(folder / "file", content, scratch=folder / "scratch", **how)


def left(folder):
    return sorted(path.name for path in (folder / "scratch").iterdir())


def test_a_file_is_private_from_its_first_byte(tmp_path):
    """While it is written nobody else may read it, whatever the umask and whatever mode it will have."""
    before = os.umask(0)
    try:
        with files.replacing(tmp_path / "a", scratch=tmp_path / "scratch", mode=0o644) as temp:
            assert stat.S_IMODE(temp.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_file_is_written_whole_with_its_mode(tmp_path):
    """The content is there, nobody else may read it, and no temp file is left."""
    write(tmp_path, b"one")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    write(tmp_path, b"two", mode=0o640)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert left(tmp_path) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path, step):
    """Before the rename what was there stays, after it the new content is there; never a half, never a temp file."""
    write(tmp_path, b"old")
    with failpoints.armed(f"{step}=raise"), pytest.raises(FailpointError):
        write(tmp_path, b"new")
    assert (tmp_path / "file").read_bytes() == (b"new" if step == "files.renamed" else b"old")
    assert left(tmp_path) == []


def test_what_the_block_raises_leaves_the_old_file(tmp_path):
    """An error while writing, such as a full disk at any byte, changes nothing."""
    write(tmp_path, b"old")

    def write_half():
        with files.replacing(tmp_path / "file", scratch=tmp_path / "scratch") as temp:
            temp.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert left(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
def test_a_full_disk_leaves_the_old_file(tmp_path, size):
    """Where the file system takes only so many bytes, the error says so and what was there is intact."""
    write(tmp_path, b"old")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, allowed[1]))
    try:
        with pytest.raises(DiskFullError, match="no space left"), files.explained(tmp_path / "file"):
            write(tmp_path, b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert left(tmp_path) == []


KILLED = """
import sys
from pathlib import Path
from pipeline import files
files.write_whole(Path(sys.argv[1]) / "file", b"new", scratch=Path(sys.argv[1]) / "scratch")
"""


@pytest.mark.parametrize(("step", "content"), [("files.written", b"old"), ("files.renamed", b"new")])
def test_what_a_killed_writer_left_is_cleared(tmp_path, step, content):
    """A kill leaves the old file or the new one, and at most a temp file that the next owner removes."""
    write(tmp_path, b"old")
    child = [sys.executable, "-c", KILLED, tmp_path]
    assert subprocess.call(child, env={**os.environ, failpoints.VARIABLE: f"{step}=kill"}) == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == content
    assert all(name.endswith(".tmp") for name in left(tmp_path))
    files.clear_scratch(tmp_path / "scratch")
    assert left(tmp_path) == []


def test_folders_are_made_private_and_existing_ones_let_be(tmp_path):
    """Each missing folder is made for the owner alone; the mode of one that was there is its owner's choice."""
    (tmp_path / "mine").mkdir(mode=0o755)
    made = files.make_folder(tmp_path / "mine" / "a" / "b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made, made.parent, made.parent.parent)] == [
        0o700,
        0o700,
        0o755,
    ]


# -- the lock -----------------------------------------------------------------------------------------------------


def test_a_second_owner_is_told_who_the_first_is(tmp_path):
    """The lock names process and host, is refused at once, and is free again afterwards."""
    path = tmp_path / "private" / "lock"
    with files.locked(path):
        with (
            pytest.raises(FolderInUseError, match=f"process {os.getpid()} on {socket.gethostname()}"),
            files.locked(path),
        ):
            pass
        assert json.loads(path.read_text())["pid"] == os.getpid()
    with files.locked(path):
        pass


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"pid": 1}'])
def test_what_the_lock_says_is_information_only(tmp_path, text):
    """The kernel decides: an unreadable or stale text neither grants the lock nor withholds it."""
    path = tmp_path / "lock"
    path.write_text(text)
    with files.locked(path):
        path.write_text(text)
        with pytest.raises(FolderInUseError, match="in use"), files.locked(path):
            pass


HOLDER = """
import sys, time
from pathlib import Path
from pipeline import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_owner_holds_nothing(tmp_path):
    """The lock of a process that was killed is free at once, whatever it wrote."""
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=f"process {holder.pid} on"), files.locked(path):
            pass
        holder.kill()
        holder.wait()
        with files.locked(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()


# -- errors of the operating system ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, DiskFullError, 75),
        (errno.EDQUOT, DiskFullError, 75),
        (errno.EFBIG, DiskFullError, 75),
        (errno.EACCES, RefusedError, 77),
        (errno.EPERM, RefusedError, 77),
        (errno.EROFS, RefusedError, 77),
        (errno.EIO, DiskError, 75),
        (errno.ESTALE, DiskError, 75),
    ],
)
def test_errors_of_the_machine_say_what_to_do(tmp_path, number, kind, code):
    """What a person can mend becomes an error that names the file and says how; its cause is kept."""
    with pytest.raises(kind) as raised, files.explained(tmp_path):
        raise OSError(number, os.strerror(number))
    assert (raised.value.exit_code, raised.value.__cause__.errno) == (code, number)
    assert str(tmp_path) in raised.value.message
    assert raised.value.hint


def test_other_errors_stay_what_they_are(tmp_path):
    """What nobody foresaw is not explained away."""
    with pytest.raises(OSError, match="no typewriter"), files.explained(tmp_path):
        raise OSError(errno.ENOTTY, "no typewriter")


def test_folders_that_cannot_change_places_stay_where_they_are(tmp_path):
    """Where the one act fails, the old folder is not taken away in another way: readers must never miss it."""
    old = files.make_folder(tmp_path / "old")
    (old / "file").write_text("held")
    with pytest.raises(FileNotFoundError):
        files.exchange(tmp_path / "none", old)
    assert (old / "file").read_text() == "held"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
