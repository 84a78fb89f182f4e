"""Commands of which one system call fails, or is their last: which call of which kind, a rehearsal tells."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.archive import tombstones
from tests.truth import test_kills_elsewhere as elsewhere
from tests.truth.reader import leaving, parquet, snapshot
from tests.truth.test_kills import ROOT
from tests.truth.world import prove, prove_tidy

from .trace import strace, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.result import RunResult

#: What becomes of a call: the process dies in it, the disk fails, the disk is full. One to die waits to be killed, for
#: strace delivers no signal while it picks calls by seccomp, which is twice as fast.
ACTIONS = {"kill": "delay_enter=600000000", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
KINDS = {
    "rename": ("rename", "renameat", "renameat2"),
    "sync": ("fsync", "fdatasync"),
    "remove": ("unlink", "unlinkat"),
    "create": ("openat",),
    "open": ("openat",),
    "write": ("write", "pwrite64"),
}
#: Opens that create nothing can only fail: no disk is too full for them, and a kill there is one at the change before.
WAYS = {kind: ("EIO",) if kind == "open" else tuple(ACTIONS) for kind in KINDS}
_CREATES = "O_CREAT"
#: What Python compiles by the way would be renamed, too, once.
UNCOMPILED = {"PYTHONDONTWRITEBYTECODE": "1"}
#: Seconds between two looks whether a command has come to the call in which it is killed.
LOOK = 0.005
#: Codes with which a command may end when the disk fails: told, not a bug.
TOLD = {0, 3, 75, 77, 78}
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")


@dataclass(frozen=True)
class Blow:
    """The n-th call of one name, counted in each thread, and what becomes of it."""

    call: str
    number: int
    action: str

    def __str__(self) -> str:
        return f"{self.call} {self.number} {self.action}"

    @property
    def inject(self) -> str:
        """Say it to strace."""
        return f"inject={self.call}:{ACTIONS[self.action]}:when={self.number}"


def calls_of(lines: Iterable[str], root: str, kind: str) -> set[tuple[str, int]]:
    """Return the calls of a kind that concern files below ``root``: name, and which of its thread's calls it is."""
    passed: Counter[tuple[str, str]] = Counter()
    found = set()
    for line in lines:
        if (match := _CALL.match(line)) and match[2] in KINDS[kind]:
            passed[match[1], match[2]] += 1
            if root in match[3] and (kind not in {"create", "open"} or (_CREATES in match[3]) == (kind == "create")):
                found.add((match[2], passed[match[1], match[2]]))
    return found


def most_of(lines: Iterable[str], call: str) -> tuple[int, int]:
    """Return the thread that made most calls of a name, and how many."""
    made = Counter(int(match[1]) for line in lines if (match := _CALL.match(line)) and match[2] == call)
    return max(made.items(), key=itemgetter(1), default=(0, 0))


def nth_of(lines: Iterable[str], blow: Blow) -> str:
    """Return the blow's call as it began, in the thread that came to it."""
    made: Counter[str] = Counter()
    for line in lines:
        if (match := _CALL.match(line)) and match[2] == blow.call:
            made[match[1]] += 1
            if made[match[1]] == blow.number:
                return line
    return ""


def has_traceback(stderr: str) -> bool:
    """Say whether a command ended with a traceback; what Python's start says of a file of its own is indented."""
    return bool(re.search(r"^Traceback", stderr, re.MULTILINE))


class Struck:
    """Mixin of a job of ``test_kills_elsewhere``: its command meets a blow below Python instead of a failpoint."""

    #: A night is two segments, or few more: enough for every step, and each blow is proved the sooner.
    settings = elsewhere.Job.settings.replace(f'"{elsewhere.SEGMENT}"', '"4000"')
    healed = 0.0
    """Seconds of the latest run in this process: the one that mends."""
    has_landed = False
    """Whether the latest blow met a call to the data folder: with every night a few calls more are made before it.

    Elsewhere it may meet anything: DuckDB gives up where it cannot read /proc, and Python where a module is gone.
    """
    is_untouched = False
    """Whether the command made no call of the latest blow's number."""

    def run(self, **options: object) -> RunResult:
        began = time.monotonic()
        result = super().run(**options)
        self.healed = time.monotonic() - began
        return result

    def prove(self) -> None:
        """Leave the rows to ``verify`` after each blow; a chain of them ends with a look that does not rely on it."""
        prove_tidy(self.data)

    def end(self) -> None:
        super().end()
        prove(self.data)

    def rehearsed(self) -> dict[str, list[tuple[str, int]]]:
        """Let the command end as it should; return by kind the calls that it makes to its data folder."""
        log = self.data.parent / "rehearsal.log"
        self.prepare()
        self.something_happens()
        every = ",".join(call for calls in KINDS.values() for call in calls)
        done = self._under(["-f", "-y", "-o", log, "-e", f"trace={every}"])
        assert done.returncode == 0, done.stderr
        self.after()
        self.recover()
        lines = log.read_text(errors="replace").splitlines()
        return {kind: sorted(calls_of(lines, str(self.data), kind)) for kind in KINDS}

    def dies(self, plan: Blow | str, command: tuple[str, ...] | None = None) -> bool:
        """Run the command under a blow; whether it did not end well. What fails there is told, without a traceback."""
        if isinstance(plan, str):
            return super().dies(plan, command)
        log, before = self.data.parent / "blow.log", self._seen()
        log.unlink(missing_ok=True)
        watcher = ["-f", "-y", "--seccomp-bpf", "-o", log, "-e", f"trace={plan.call}", "-e", plan.inject]
        done = self._under(watcher, partial(_kill_in, plan, log) if plan.action == "kill" else None)
        died = done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
        lines = log.read_text(errors="replace").splitlines()
        self.is_untouched = most_of(lines, plan.call)[1] < plan.number
        assert died == (plan.action == "kill" and not self.is_untouched), (plan, done.returncode, done.stderr)
        struck = [nth_of(lines, plan)] if died else [call for _, call in whole(lines) if "(INJECTED)" in call]
        self.has_landed = any(str(self.data) in call for call in struck)
        is_told = done.returncode in TOLD and not has_traceback(done.stderr)
        assert died or is_told or not self.has_landed, (plan, done.returncode, done.stderr)
        # Readers look now and then: what is published between a blow and what mends it might escape them.
        now = self._seen()
        missed = {name: ids - now.get(name, set()) - leaving(self.data) for name, ids in before.items()}
        assert not any(missed.values()), (plan, missed)
        return done.returncode != 0

    def _seen(self) -> dict[str, set[str]]:
        """Return which completions are published, where anything is."""
        looks = {look.__name__: look(self.data) for look in (snapshot, parquet)}
        return {name: set(seen[0]) for name, seen in looks.items() if seen}

    def _under(
        self, watcher: list[object], meanwhile: Callable[[subprocess.Popen[str]], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        program = [strace(), *watcher, sys.executable, "-m", "pipeline", *self.command, "--config", self.file]
        with subprocess.Popen(
            program, cwd=ROOT, env=os.environ | UNCOMPILED, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as child:
            if meanwhile:
                meanwhile(child)
            _, said = child.communicate()
        return subprocess.CompletedProcess(program, child.returncode, None, said)


def _kill_in(blow: Blow, log: Path, child: subprocess.Popen[str]) -> None:
    """Kill what has come to the blow's call and waits there, or see the command end without it."""
    size = 0
    while child.poll() is None:
        if log.exists() and size != (size := log.stat().st_size):
            thread, made = most_of(log.read_text(errors="replace").splitlines(), blow.call)
            if made >= blow.number:
                _kill(thread, child)
                return
        time.sleep(LOOK)


def _kill(thread: int, watcher: subprocess.Popen[str]) -> None:
    """Kill the process of a thread, and then who holds it back; return when it is gone, and with it its lock."""
    status = Path(f"/proc/{thread}/status").read_text(encoding="utf-8")
    process = os.pidfd_open(int(re.search(r"^Tgid:\s+(\d+)$", status, re.MULTILINE)[1]))
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        watcher.kill()
        select.select([process], [], [])
    finally:
        os.close(process)


class Running(Struck, elsewhere.Job):
    """A run."""


class Sweeping(Struck, elsewhere.Sweeping):
    """A sweep; as long as there is something old to be deleted, it is."""

    def prepare(self) -> None:
        if self.old:
            super().prepare()


class Rebuilding(Struck, elsewhere.RebuildingAll):
    """Both destinations, made anew."""


class Forgetting(Struck, elsewhere.Forgetting):
    """Completions that must go: all of them are on their way out, or nothing has happened yet."""

    def after(self, _: object = "") -> None:
        told = tombstones.read(self.folder.archive / "prod")
        covered = {id_ for id_ in self.doomed if told.cover(id_)}
        assert covered in (set(), set(self.doomed))
        self.forgotten |= covered


class Upgrading(Struck, elsewhere.Job):
    """A run that finds both destinations in another layout, and makes them anew."""

    def prepare(self) -> None:
        """Hold them with a table that the command is not asked for."""
        text = self.file.read_text()
        self.file.write_text(f"{text}\n[destinations]\nlogprobs = true\n")
        assert self.run().exit_code == 0
        self.file.write_text(text)


class Beginning(Struck, elsewhere.Job):
    """A first run, without a data folder."""

    def prepare(self) -> None:
        for path in sorted(self.data.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        if self.data.exists():
            self.data.rmdir()


JOBS = {job.__name__.lower(): job for job in (Running, Sweeping, Rebuilding, Forgetting, Upgrading, Beginning)}
#: Commands during which readers look on; before a first run there is nothing that they could see.
WATCHED = JOBS.keys() - {"beginning"}


def blows(kind: str, calls: Iterable[tuple[str, int]]) -> Iterator[Blow]:
    """Yield every blow to these calls of a kind."""
    return (Blow(call, number, action) for call, number in calls for action in WAYS[kind])
