"""What a process asked of the file system, in its order, as strace saw it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

WRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "copy_file_range", "sendfile", "fallocate")
SYNCS = ("fsync", "fdatasync")
RENAMES = ("rename", "renameat", "renameat2")
REMOVALS = ("unlink", "unlinkat", "rmdir")
FOLDERS = ("mkdir", "mkdirat")

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)$")
_OF_FILE = re.compile(r"\d+<(/[^>]*)>")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Event:
    """One call that succeeded: its name, and the paths that it was about."""

    call: str
    path: str
    to: str = ""
    """Where a rename led."""


@cache
def strace() -> str:
    """Return strace; skips the test where there is none, or where it may not look at a process."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed")
    if subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    return found


def traced(log: Path, command: Sequence[object], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and write to ``log`` what it and its children ask of the file system."""
    calls = ",".join((*WRITES, *SYNCS, *RENAMES, *REMOVALS, *FOLDERS))
    watcher = [strace(), "-f", "-y", "-s", "256", "-o", log, "-e", f"trace={calls}"]
    return subprocess.run([*watcher, *command], capture_output=True, text=True, check=False, **options)


def events(lines: Iterable[str]) -> Iterator[Event]:
    """Read a log, every call at the place where it ended; calls that failed are left out."""
    for call, asked in whole(lines):
        if not asked.rpartition(" = ")[2].startswith("-1") and (event := _event(call, asked)):
            yield event


def whole(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each call where it ended, its name and all that stands about it: strace splits what another interrupts."""
    begun: dict[tuple[str, str], str] = {}
    for line in lines:
        if not (found := _LINE.match(line)):
            continue
        process, call, rest = found.groups()
        if rest.endswith("<unfinished ...>"):
            begun[process, call] = rest
            continue
        yield call, begun.pop((process, call), "") + rest


def _event(call: str, asked: str) -> Event | None:
    if call in RENAMES:
        old, new = _NAME.findall(asked)[:2]
        return Event("rename", old, new)
    if call in REMOVALS or call in FOLDERS:
        return Event("remove" if call in REMOVALS else "make", _NAME.findall(asked)[0])
    paths = _OF_FILE.findall(asked.partition('"')[0] if call in {"write", "pwrite64"} else asked)
    if not paths:
        return None
    # copy_file_range names first the file that is read, sendfile the one that is written
    return Event("sync" if call in SYNCS else "write", paths[-1] if call == "copy_file_range" else paths[0])
