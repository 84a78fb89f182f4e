"""Files appear whole or not at all, and one run at a time owns a data folder."""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import (
    DiskError,
    DiskFullError,
    FolderError,
    FolderInUseError,
    PipelineError,
    RefusedError,
    TryAgainError,
    UsageError,
)
from pipeline.failpoints import reach

FOLDER_MODE = 0o700
FILE_MODE = 0o600
#: Linux's renameat2 with this flag lets two names change places in one act; Python has no name for it.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
#: What a system says, or a container around it, that does not know that call or that flag.
_UNABLE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP})
#: What a disk says that takes nothing more.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What a disk, or one behind a network, says when it fails.
_BROKEN = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EREMOTEIO, errno.EUCLEAN})


def make_folder(path: Path, *, unsynced: set[Path] | None = None) -> Path:
    """Make a private folder and its missing parents durable; an existing one keeps its mode.

    A caller that makes many names durable at once has the folders put into ``unsynced`` that hold the new ones.
    """
    if not path.is_dir():
        if path.is_symlink():
            raise FolderError(
                f"{path} is a link to {path.readlink()}, where there is no folder",
                hint="mount or make it, or name another folder",
            )
        make_folder(path.parent, unsynced=unsynced)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _sync_or_note(path.parent, unsynced)
    return path


@contextlib.contextmanager
def replacing(path: Path, *, scratch: Path, mode: int = FILE_MODE, unsynced: set[Path] | None = None) -> Iterator[Path]:
    """Hand out a temp path in ``scratch`` (same file system) that becomes ``path`` when the block ends well.

    Order: write, fsync, close, rename, fsync of the folder (``unsynced``: by the caller, as in ``make_folder``). An
    error, or a crash before the rename, leaves what was at ``path``; a temp file that a crash left is removed by
    ``clear_scratch``.
    """
    temp = _temp(path, scratch)
    # Beside a report anybody may have put a link there, to have us write elsewhere; and nobody else reads what is half.
    os.close(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
    try:
        yield temp
        reach("files.written")
        temp.chmod(mode)
        sync_file(temp)
        reach("files.synced")
        temp.replace(path)
        reach("files.renamed")
        _sync_or_note(path.parent, unsynced)
    finally:
        temp.unlink(missing_ok=True)


def point(link: Path, to: Path, *, scratch: Path) -> None:
    """Let a link name another file, durably and in one act; it is relative, so that both may be moved together."""
    temp = _temp(link, scratch)
    try:
        temp.symlink_to(os.path.relpath(to, link.parent))
        temp.replace(link)
        sync_folder(link.parent)
    finally:
        temp.unlink(missing_ok=True)


def _temp(path: Path, scratch: Path) -> Path:
    """Name a temp file that will take the place of ``path``; what a killed process of our number left is removed."""
    temp = make_folder(scratch) / f"{path.name}.{os.getpid()}.tmp"
    temp.unlink(missing_ok=True)
    return temp


def write_whole(path: Path, content: bytes, *, scratch: Path, mode: int = FILE_MODE) -> None:
    """Write a small file whole or not at all."""
    with replacing(path, scratch=scratch, mode=mode) as temp:
        temp.write_bytes(content)


@contextlib.contextmanager
def writing_out(path: Path) -> Iterator[Path]:
    """Hand out a temp path that becomes the file named with ``--out``, whole or not at all; errors say to name another.

    Raises UsageError for what is no plain file: a device or a pipe would be one afterwards, a link lead nowhere.
    """
    hint = "name another file with --out"
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=hint)
    if not path.name or path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is no file that could be replaced", hint=hint)
    try:
        with explained(path), replacing(path, scratch=path.parent) as temp:
            yield temp
    except DiskFullError:
        raise
    except PipelineError as error:
        raise type(error)(error.message, hint=hint) from error


def write_out(path: Path, content: bytes) -> None:
    """Write a small file as ``writing_out`` does."""
    with writing_out(path) as temp:
        temp.write_bytes(content)


def exchange(new: Path, old: Path) -> None:
    """Let two folders change places, durably: in one act where the system can, else with an instant without ``old``."""
    if not _exchanged(new, old):
        aside = new.with_name(f"{new.name}.before")
        old.rename(aside)
        new.rename(old)
        aside.rename(new)
    reach("files.exchanged")
    for folder in {new.parent, old.parent}:
        sync_folder(folder)


def _exchanged(new: Path, old: Path) -> bool:
    """Say whether the system could do it in one act; a disk that fails is no reason to do it in another way."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in _UNABLE:
        return False
    raise OSError(code, os.strerror(code), str(new), None, str(old))


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, where it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def clear_scratch(scratch: Path) -> None:
    """Remove temp files that a killed run left; only the holder of the lock may call this."""
    for left in scratch.glob("*.tmp"):
        left.unlink()


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync_or_note(folder: Path, unsynced: set[Path] | None) -> None:
    if unsynced is None:
        sync_folder(folder)
    else:
        unsynced.add(folder)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the kernel's lock on ``path``; a second holder gets FolderInUseError with who holds it.

    Hands out the open file: a process that inherits it holds the lock too.
    """
    make_folder(path.parent)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"the data folder is in use: {_holder(file.read())} holds {path}",
                hint="wait for that run to end, then run again",
            ) from error
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        yield file.fileno()


def _holder(text: str) -> str:
    """Say who wrote the lock; the text is information only, the kernel decides."""
    try:
        held = json.loads(text)
        return f"process {held['pid']} on {held['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def explained(what: Path) -> Iterator[None]:
    """Translate what the operating system says about ``what`` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if told := failing(error, what):
            raise told from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise RefusedError(
                f"not allowed to write {what}: {error.strerror}",
                hint="run as the owner of the data folder, or name another one with --data",
            ) from error
        if error.errno in {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL}:
            raise FolderError(
                f"{what} cannot be a data folder: {error.strerror}", hint="name another with --data"
            ) from error
        raise


def refused(error: OSError) -> RefusedError | None:
    """Say that a file may not be used by us; None where the error is about something else."""
    if isinstance(error, PermissionError) and error.filename:
        return RefusedError(f"not allowed to use {error.filename}", hint="run as its owner, or ask for the right to")
    return None


def failing(error: OSError, what: Path | str) -> TryAgainError | None:
    """Say of a disk that it is full, or fails; None where the error is about something else."""
    if error.errno in _FULL:
        return DiskFullError(
            f"no space left while writing {what}",
            hint="free some space and run again; everything written before is intact",
        )
    if error.errno in _BROKEN:
        return DiskError(
            f"the disk fails at {error.filename or what}: {error.strerror}",
            hint="check the disk, then run again; everything written before is intact",
        )
    return None
