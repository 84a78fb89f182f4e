"""The helper that flattens ahead of a load: what it hands over counts, we do the rest, and it outlives nobody."""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ahead
from pipeline.errors import FolderError
from pipeline.helper import environment
from pipeline.repair import repair

from .world import prove

#: Tells which helper has handed over a first batch, and waits to be killed.
LISTENER = """
import pickle, subprocess, sys, time
from pipeline import ahead
ahead.ENOUGH = 0
start = subprocess.Popen
class Helper(start):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        print(self.pid, flush=True)
subprocess.Popen = Helper
batches = ahead.batches(pickle.load(sys.stdin.buffer), 0)
next(batches)
print("one", flush=True)
time.sleep(600)
"""


needs_linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux shows a process that well")


@pytest.fixture
def helpers(monkeypatch):
    """Let every load have a helper, and note each."""
    started = []

    class Helper(subprocess.Popen):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            started.append(self)

    monkeypatch.setattr(ahead, "ENOUGH", 0)
    monkeypatch.setattr(subprocess, "Popen", Helper)
    return started


def alike(one, other):
    """Say whether two batches are the same in all that a load uses."""
    parts = ("bookmark", "tables", "replaced", "fetched", "updates", "rejected")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


def in_here(archive, after=0, through=None):
    """Flatten without a helper, as few segments are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "ENOUGH", sys.maxsize)
        return list(ahead.batches(archive, after, through))


def test_what_is_handed_over_is_what_would_be_flattened_here(original, helpers):
    """Every batch of the segments asked for, in their order, alike in all its parts, whichever process made it."""
    archive = original.archive()
    assert archive.last >= 10
    for bounds in [(0, None), (3, None), (2, 7), (archive.last, None)]:
        batches = list(ahead.batches(archive, *bounds))
        expected = in_here(archive, *bounds)
        assert [batch.bookmark for batch in batches] == [batch.bookmark for batch in expected]
        assert all(map(alike, batches, expected))
    assert sum(batch.rejected for batch in in_here(archive)) == 1
    assert len(helpers) == 4


def test_a_rebuild_has_one(original, helpers):
    """Destinations made anew from what a helper flattened are those that a run made."""
    assert repair(original.config(), "all")[0].exit_code == 0
    assert len(helpers) == 1
    prove(original.data)


@pytest.mark.parametrize("heard", [1, 4])
def test_a_helper_that_dies_costs_nothing(original, helpers, heard):
    """Killed after it handed something over: the rest is flattened here, and nothing twice."""
    batches = ahead.batches(original.archive(), 0)
    found = [next(batches) for _ in range(heard)]
    helpers[0].kill()
    found += batches
    assert all(map(alike, found, expected := in_here(original.archive())))
    assert len(found) == len(expected)


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize("program", ["/bin/false", "/nowhere", "/bin/echo"])
def test_a_helper_that_does_not_start_costs_nothing(original, monkeypatch, program):
    """Gone before it heard what to do, never there, or of other words: everything is flattened here."""
    monkeypatch.setattr(sys, "executable", program)
    assert [batch.bookmark.segment for batch in ahead.batches(original.archive(), 0)] == [
        footer.number for footer in original.archive().footers
    ]


@pytest.mark.usefixtures("helpers")
def test_a_damaged_segment_is_told_by_us(original):
    """What lies before it is handed over, then the error names the file, as it does without a helper."""
    archive = original.archive()
    path = archive.path(5)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        batches = ahead.batches(archive, 0)
        assert [next(batches).bookmark.segment for _ in range(4)] == [1, 2, 3, 4]
        with pytest.raises(FolderError, match=path.name):
            next(batches)
    finally:
        path.write_bytes(whole)


@needs_linux
def test_it_is_given_no_key(original, helpers, monkeypatch):
    """The helper's environment holds what Python needs, and no variable that may be a key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    batches = ahead.batches(original.archive(), 0)
    next(batches)
    given = Path(f"/proc/{helpers[0].pid}/environ").read_bytes()
    names = {entry.partition(b"=")[0].decode() for entry in given.split(b"\0") if entry}
    assert "PYTHONPATH" in names
    assert names <= {"LC_CTYPE", *environment({}), *ahead._KEPT}


@needs_linux
def test_it_ends_when_nobody_listens_any_more(original, helpers):
    """A load that ends early ends its helper; one whose process is killed has it end by itself."""
    batches = ahead.batches(original.archive(), 0)
    next(batches)
    batches.close()
    assert helpers[0].returncode is not None
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        listener.stdin.write(pickle.dumps(original.archive()))
        listener.stdin.close()
        helper = os.pidfd_open(int(listener.stdout.readline()))
        assert listener.stdout.readline() == b"one\n"
        assert select.select([helper], [], [], 0)[0] == []
        listener.kill()
    assert select.select([helper], [], [], 30)[0] == [helper]
    os.close(helper)
