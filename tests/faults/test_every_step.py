"""Every step can fail: a system call that fails, or is the last, is told or mended, and no reader ever notices."""

from __future__ import annotations

import random
from contextlib import nullcontext
from itertools import cycle

import pytest

from tests.truth.reader import DONE
from tests.truth.test_kills import watched

from .strike import ACTIONS, JOBS, KINDS, WATCHED, WAYS, Blow, calls_of, has_traceback, nth_of

SEED = 7


def test_the_calls_of_a_data_folder_are_counted_by_thread():
    """Only calls that concern the folder count, each by its number among its own thread's calls of that name."""
    lines = [
        '7 openat(AT_FDCWD, "/usr/lib/a", O_RDONLY) = 3',
        '7 openat(AT_FDCWD, "/data/a", O_RDONLY) = 3',
        '8 openat(AT_FDCWD, "/data/b", O_RDONLY <unfinished ...>',
        "8 <... openat resumed>) = 3",
        '8 openat(AT_FDCWD, "/data/b", O_RDONLY) = 3',
        '8 openat(AT_FDCWD, "/data/c", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3',
        "7 fsync(3</data/a>) = 0",
    ]
    assert calls_of(lines, "/data", "open") == {("openat", 1), ("openat", 2)}
    assert calls_of(lines, "/data", "create") == {("openat", 3)}
    assert calls_of(lines, "/data", "sync") == {("fsync", 1)}


def test_a_blow_is_found_in_the_thread_that_came_to_it():
    """The n-th call of one thread, not of all together; the one that another interrupts as well."""
    lines = [
        '7 openat(AT_FDCWD, "/data/a", O_RDONLY) = 3',
        '8 openat(AT_FDCWD, "/usr/lib/a", O_RDONLY) = 3',
        '8 openat(AT_FDCWD, "/data/b", O_RDONLY <unfinished ...>',
        "8 +++ killed by SIGKILL +++",
    ]
    assert "/data/b" in nth_of(lines, Blow("openat", 2, "kill"))
    assert not nth_of(lines, Blow("openat", 3, "kill"))


def test_only_the_program_s_own_traceback_counts():
    """A call that fails while Python starts is told by Python, indented, and the program goes on."""
    ours = "Traceback (most recent call last):\n  File"
    assert has_traceback(ours)
    assert has_traceback(f"prod: complete\n{ours}")
    assert not has_traceback(
        f"Error processing line 1 of a.pth:\n\n  {ours}\nRemainder of file ignored\nprod: complete\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", JOBS, ids=lambda name: f"{name}, seed {SEED}")
def test_every_step_can_fail(tmp_path, name):
    """Killed, with a disk that fails or is full, at a step of each kind: the next run mends all. A soak goes on."""
    with watched(tmp_path) if name in WATCHED else nullcontext(), JOBS[name](tmp_path / name) as victim:
        chance, landed = random.Random(f"{SEED} {name}"), []
        actions = cycle(chance.sample(sorted(ACTIONS), len(ACTIONS)))
        for kind, calls in victim.rehearsed().items():
            # Later nights make fewer calls than the rehearsal; where there are none of a kind, there is no choice.
            call, number = chance.choice(calls[: len(calls) // 2 + 1])
            victim.strike(blow := Blow(call, number, next(action for action in actions if action in WAYS[kind])))
            landed += [blow] * victim.has_landed
        victim.end()
        (tmp_path / name / DONE).touch()
    assert len(landed) >= len(KINDS) - 1, landed  # an open may be one of a file elsewhere
    assert {blow.action for blow in landed} == ACTIONS.keys(), landed
