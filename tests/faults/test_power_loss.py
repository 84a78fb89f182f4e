"""A loss of power tears nothing apart: bytes are durable before they are published, names before they are told of.

A killed process does not show this, for what it wrote is still in the system's cache. The trace of its calls does.
"""

from __future__ import annotations

import sys

import pytest

from tests.truth.test_kills import ROOT, Victim
from tests.truth.test_kills_elsewhere import Job

from .power import complaints
from .trace import Event, events, traced

DATA = "/data"
TEMP, SEGMENT, FOLDER = f"{DATA}/.writer/temp/1.tmp", f"{DATA}/archive/prod/00000001.parquet", f"{DATA}/archive/prod"
LEDGER = f"{FOLDER}/ledger.jsonl"
SOUND = [
    Event("write", TEMP),
    Event("sync", TEMP),
    Event("rename", TEMP, SEGMENT),
    Event("sync", FOLDER),
    Event("write", TEMP),
    Event("sync", TEMP),
    Event("rename", TEMP, LEDGER),
    Event("sync", FOLDER),
]


def test_a_sound_order_is_not_complained_of():
    """Write, sync, rename, sync of the folder, then the bookmark in the same way."""
    assert complaints(SOUND, DATA) == ([], 2)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (1, f"{SEGMENT} relies on {TEMP}, whose bytes are not durable"),
        (3, f"{LEDGER} tells of {SEGMENT}, whose name is not durable"),
        (5, f"{LEDGER} relies on {TEMP}, whose bytes are not durable"),
        (7, f"{LEDGER} was not made durable in its folder"),
    ],
)
def test_a_missing_sync_is_complained_of(missing, said):
    """Each sync of the sound order is needed: without it the complaint says what is torn apart."""
    told, _ = complaints([event for number, event in enumerate(SOUND) if number != missing], DATA)
    assert said in told


def test_a_folder_that_is_not_durable_is_complained_of():
    """A bookmark that tells of a file does not come before the name of its folder is durable."""
    made = [Event("make", FOLDER), Event("sync", f"{DATA}/archive")]
    assert complaints([*made, *SOUND], DATA)[0] == []
    assert complaints([made[0], *SOUND], DATA)[0] == [
        f"{LEDGER} tells of {FOLDER}, whose name is not durable",
        f"{FOLDER} was not made durable in its folder",
    ]


def test_a_snapshot_of_a_file_that_is_still_being_written():
    """The writer's file and its log must be durable before a copy of them is published."""
    log, copy = f"{DATA}/.writer/warehouse.duckdb.wal", f"{DATA}/.writer/temp/copy.tmp"
    order = [
        Event("write", log),
        Event("write", copy),
        Event("sync", copy),
        Event("rename", copy, f"{DATA}/warehouse.duckdb"),
        Event("sync", DATA),
    ]
    assert complaints(order, DATA)[0] == [f"{DATA}/warehouse.duckdb relies on {log}, whose bytes are not durable"]


def test_a_log_of_calls_is_read():
    """Calls that another thread interrupts end where they resume; calls that fail did nothing; quotes are no paths."""
    lines = [
        '7 write(3</data/a<1>.tmp>, "9</data/b>", 3 <unfinished ...>',
        "8 fsync(4</data/c>) = 0",
        "7 <... write resumed>) = 3",
        '7 rename("/data/a", "/data/b") = -1 ENOENT (No such file or directory)',
        '7 renameat2(AT_FDCWD</x>, "/data/a", AT_FDCWD</x>, "/data/b", RENAME_EXCHANGE) = 0',
        "7 copy_file_range(3</data/a>, NULL, 4</data/d>, NULL, 9, 0) = 9",
        "7 +++ exited with 0 +++",
    ]
    assert list(events(lines)) == [
        Event("sync", "/data/c"),
        Event("write", "/data/a<1"),
        Event("rename", "/data/a", "/data/b"),
        Event("write", "/data/d"),
    ]


def followed(victim, log, *command):
    """Run a command under strace; return what is torn apart by a loss of power, and how many renames there were."""
    program = [sys.executable, "-m", "pipeline", *command, "--config", victim.file]
    done = traced(log, program, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    return complaints(events(log.read_text(errors="replace").splitlines()), str(victim.data))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_step_of_a_run_relies_on_what_is_not_durable(tmp_path):
    """A first run and a later one: every rename and every bookmark comes after what it relies on is durable."""
    with Victim(tmp_path / "victim") as victim:
        for number in range(2):
            victim.something_happens()
            told, renames = followed(victim, tmp_path / f"{number}.log", "run")
            assert (told, renames > 10) == ([], True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nor_does_a_run_that_keeps_images(tmp_path):
    """Input messages and their images: a blob is durable before the ledger tells of the segment that refers to it."""
    with Job(tmp_path / "job") as job:
        before = len(list(job.folder.blobs.rglob("*")))
        job.something_happens()
        told, renames = followed(job, tmp_path / "log", "run")
        assert (told, renames > 0) == ([], True)
        assert len(list(job.folder.blobs.rglob("*"))) > before


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [("sweep",), ("rebuild", "all"), ("rebuild", "ledger"), ("forget", "--yes")])
def test_nor_does_another_command(tmp_path, command):
    """The same of a sweep, of what is made anew and put in the place of the old, and of forgetting."""
    with Victim(tmp_path / "victim") as victim:
        victim.something_happens()
        victim.recover()
        victim.something_happens()
        if command[0] == "forget":
            command = (*command, "--id", next(iter(victim.store.bodies())))
        told, renames = followed(victim, tmp_path / "log", *command)
        assert (told, renames > 0) == ([], True)
