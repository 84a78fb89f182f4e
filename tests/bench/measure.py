"""Runs a process and tells what it cost: wall and CPU time, peak memory, bytes written, and the load beside it.

Peak memory is the most that the process and all its children held at one moment, asked twenty times a second: too
low by what grew in the last twentieth. What lies in files, libraries above all, they share: it counts once, of who
holds most of it. What the system counts by itself is no help: it counts what the parent held before the process began,
and of the children only the largest; and what it knows of shared memory (PSS) makes a run a tenth slower.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING

from tests.bench.service import ROOT, Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROC = Path("/proc")
_TICK = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process cost."""

    seconds: float
    """Wall, from before it started until it was gone."""
    cpu: float
    """Seconds of it and its children."""
    peak: float
    """MB of memory, with its children."""
    written: float
    """MB handed to the disk, with its children; 0 where the system does not tell."""
    load: float
    """Average of the last minute before it began."""
    server: float | None
    """Seconds of CPU time that the server spent on it."""
    since_first: float | None
    """Seconds from the first request that the server saw."""
    stdout: str
    stderr: str


class Watch(threading.Thread):
    """Follows a process and its children; ``peak`` is the most that they held at one moment, in kB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._most = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_TICK):
            own, shared = zip(*map(_held, _family(self._pid)), strict=True)
            self._most = max(self._most, sum(own) + max(shared))

    def peak(self) -> int:
        """Stop, and return it."""
        self._ended.set()
        self.join()
        return self._most


def measured(
    command: Sequence[object], service: Service | None = None, env: Mapping[str, str] | None = None
) -> Measured:
    """Run a command and measure it; ends the benchmark where it fails."""
    os.sync()  # what was written before is not to be paid now
    load = os.getloadavg()[0]
    if service:
        service.set()
    before = service.spent() if service else None
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        process = Popen(
            [str(part) for part in command], stdout=out, stderr=err, cwd=ROOT, env={**os.environ, **(env or {})}
        )
        watch = Watch(process.pid)
        watch.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        ended = time.monotonic()
        written = _written(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watch.peak() or usage.ru_maxrss
        texts = [file.seek(0) or file.read() for file in (out, err)]
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{''.join(texts)[-4000:]}")
    after = service.spent() if service else None
    return Measured(
        seconds=ended - began,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=peak * 1024 / 1e6,
        written=written / 1e6,
        load=load,
        server=after.cpu - before.cpu if before and after else None,
        since_first=ended - after.first if after and after.first else None,
        stdout=texts[0],
        stderr=texts[1],
    )


def _family(pid: int) -> list[int]:
    """Return a process and its living children, theirs included."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):  # it is gone
            for file in (_PROC / str(parent) / "task").glob("*/children"):
                found += map(int, _read(file).split())
    return found


def _held(pid: int) -> tuple[int, int]:
    """Return the kB that are a process's own, and those that lie in files."""
    told = _read(_PROC / str(pid) / "statm").split()
    resident, shared = (int(pages) * _PAGE for pages in told[1:3]) if told else (0, 0)
    return resident - shared, shared


def _written(pid: int) -> int:
    """Return what a process that ended, but was not waited for, and its children handed to the disk."""
    for line in _read(_PROC / str(pid) / "io").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _read(file: Path) -> str:
    """Read what /proc tells; empty where the process is gone, or the system has none."""
    try:
        return file.read_text()
    except OSError:
        return ""
