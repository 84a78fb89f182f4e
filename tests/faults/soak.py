"""The soak: every attack for as long as there is time, and the table of the README from what was seen.

``python -m tests.faults.soak --seed 1`` (``make soak``) takes hours, for it strikes every call that changes names,
makes durable or opens, and each sixteenth that writes; ``--only running-names sweeping-files`` makes some of its
attacks, and ``--minutes`` ends them early. Each that ends well writes its line at once. The first thing lost or noticed
is told at once; what is under way comes to its end, and then the soak ends with an error. The same seed chooses the
same blows.
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests import template
from tests.truth.reader import DONE
from tests.truth.test_kills import AT_ONCE, PASSED, ROOT, Victim, watched

from . import load
from .strike import JOBS, WATCHED, blows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from .strike import Blow

BEGIN, END = "<!-- soak: written by `make soak` -->", "<!-- /soak -->"
COLUMNS = "| attack | measured | how often | lost | what readers saw | seconds to heal: middle, most |"
#: Nights in a row, and how many of the first and the last are compared.
NIGHTS, EDGE = 1_000, 100
#: Strikes on one data folder: more make it larger, and proving it slower.
CHAIN = 6
#: Which calls of a kind are struck, where not each of them: writes are many, and alike.
STRIDE = {"write": 16}


@dataclass
class Attack:
    """One line of the table: how often it was tried, and how long the run took that mended it."""

    name: str
    healed: list[float] = field(default_factory=list)
    note: str = ""

    def goes_on(self, until: float) -> bool:
        """Tell whether it was not made often enough yet, or there still is time."""
        return len(self.healed) < LEAST[self.name] or time.monotonic() < until

    def line(self, seed: int) -> str:
        """Write it; whatever was lost or seen would have ended the soak."""
        measured = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, seed {seed}"
        most = f"{statistics.median(self.healed):.1f}, {max(self.healed):.1f}"
        return f"| {self.name}{self.note} | {measured} | {len(self.healed):,} | 0 | nothing | {most} |"


#: What each job of a command is called.
COMMANDS = {
    "running": "`run`",
    "sweeping": "`sweep`",
    "rebuilding": "`rebuild all`",
    "forgetting": "`forget`",
    "upgrading": "`run` that upgrades",
    "beginning": "the first `run`",
}
#: What of a command is struck, and the kinds of calls that are.
GROUPS = {
    "names": ("renames, fsyncs and unlinks", ("rename", "sync", "remove")),
    "files": ("opens and writes", ("create", "open", "write")),
}
STEPS = {
    f"{name}-{group}": f"{COMMANDS[name]}: {what} kill it, fail, or find the disk full"
    for name in JOBS
    for group, (what, _) in GROUPS.items()
}
PLACES, MOMENTS = "`run`: SIGKILL at a named place", "`run`: SIGKILL at any moment"
LOADS = {
    "two runs at the same moment": load.two_at_once,
    f"{load.READERS} readers while a run publishes": load.many_readers,
    "a reader that keeps a snapshot open": load.held_open,
    "an analyst who writes into the snapshot and is killed": load.rude_analyst,
    "a data folder that is copied and goes on elsewhere": load.moved_elsewhere,
}
IN_A_ROW = "nights in a row in one process, nothing wrong with them"
#: How often each attack is made at least, in the order of the table, however little time there is.
LEAST = {
    PLACES: 250,
    MOMENTS: 250,
    **dict.fromkeys(STEPS.values(), 20),
    **dict.fromkeys(LOADS, 10),
    IN_A_ROW: NIGHTS,
}


def steps(step: str, folder: Path, chance: random.Random, until: float) -> Attack:
    """Strike a command's calls of a group in every way, in an order chosen by chance, as long as there is time.

    Where a command ends untouched it has no call of that number: none with a higher one is waited for.
    """
    name, _, group = step.partition("-")
    attack = Attack(STEPS[step])
    waiting: list[Blow] = []
    struck: list[Blow] = []
    beyond = 0
    with _watched(folder, watched if name in WATCHED else nullcontext) as parent:
        while not struck or (waiting and attack.goes_on(until)):
            with _house(parent) as house, JOBS[name](house) as victim:
                if not struck:
                    calls = victim.rehearsed()
                    strode = ((kind, _strode(kind, calls[kind], chance)) for kind in GROUPS[group][1])
                    known = [blow for kind, some in strode for blow in blows(kind, some)]
                    waiting = chance.sample(known, len(known))
                for _ in range(CHAIN):
                    if not waiting:
                        break
                    victim.strike(blow := waiting.pop(0))
                    struck.append(blow)
                    if victim.is_untouched:
                        there = [one for one in waiting if one.call != blow.call or one.number < blow.number]
                        beyond += 1 + len(waiting) - len(there)
                        waiting = there
                    elif victim.has_landed:
                        attack.healed.append(victim.healed)
                victim.end()
    every = len(known) - beyond
    missing = f"; {beyond:,} were beyond its last call" if beyond else ""
    attack.note = f" ({every - len(waiting):,} of {every:,}{missing})"
    return attack


def _strode(kind: str, calls: list[tuple[str, int]], chance: random.Random) -> list[tuple[str, int]]:
    stride = STRIDE.get(kind, 1)
    return calls[chance.randrange(stride) :: stride]


def places(folder: Path, chance: random.Random, until: float) -> Attack:
    """Kill runs at named places of the program, chosen by chance."""

    def kill(victim: Victim) -> bool:
        return victim.run_and_die(f"{chance.choice(PASSED)}=kill:{chance.choice((1, 1, 2, 3))}")

    return _killed(Attack(PLACES), folder, until, kill)


def moments(folder: Path, chance: random.Random, until: float) -> Attack:
    """Kill runs at moments chosen by chance; only those count that had asked the server something."""

    def kill(victim: Victim) -> bool:
        asked = victim.lists()
        return victim.run_for(chance.uniform(0.3, 1.0) * victim.whole) and victim.lists() > asked

    return _killed(Attack(MOMENTS), folder, until, kill)


def _killed(attack: Attack, folder: Path, until: float, kill: Callable[[Victim], bool]) -> Attack:
    with _watched(folder, watched) as parent:
        while attack.goes_on(until):
            with _house(parent) as house, Victim(house) as victim:
                victim.time_a_run()
                for _ in range(CHAIN):
                    if kill(victim):
                        attack.healed.append(load.healed(victim))
    return attack


@contextmanager
def _watched(folder: Path, watching: Callable[[Path], AbstractContextManager[object]]) -> Iterator[Path]:
    """Hand out a place for victims, and let readers look on while the block runs."""
    parent = Path(tempfile.mkdtemp(dir=folder))
    with watching(parent):
        yield parent
    shutil.rmtree(parent)


@contextmanager
def _house(parent: Path) -> Iterator[Path]:
    """Hand out a place for one victim, at which readers look as long as the block runs."""
    house = parent / f"victim-{len(list(parent.iterdir())) + 1}"
    yield house
    (house / DONE).touch()


def nights(folder: Path, _: random.Random) -> Attack:
    """Run night after night; say how time, memory and files grew."""
    seconds, memory, files = load.nights(folder / "nights", NIGHTS)
    first, last = statistics.median(seconds[:EDGE]), statistics.median(seconds[-EDGE:])
    grown = (memory[-1] - memory[EDGE]) / 1024
    note = (
        f" (a night took {first:.2f} s at first, {last:.2f} s at last; memory grew by {grown:.0f} MB; {files:,} files)"
    )
    return Attack(IN_A_ROW, seconds, note)


def drawn(lines: Iterable[str], text: str) -> str:
    """Put lines of the table in the place of those about the same attacks, in the order of the attacks."""
    before, _, rest = text.partition(BEGIN)
    former, _, after = rest.partition(END)
    known = [*lines, *(line for line in former.splitlines() if line.startswith("| "))]
    kept = [next((line for line in known if line.startswith(f"| {name}")), None) for name in LEAST]
    table = [COLUMNS, "|---" * (COLUMNS.count("|") - 1) + "|", *filter(None, kept)]
    return "\n".join([before + BEGIN, "", *table, END + after])


def attacks(folder: Path, seconds: float) -> dict[str, Callable[[random.Random], Attack]]:
    """Return by name what makes each attack, those that share ``seconds`` for so long each."""

    def timed(way: Callable[[Path, random.Random, float], Attack]) -> Callable[[random.Random], Attack]:
        return partial(_timed, way, folder, seconds)

    return {
        "places": timed(places),
        "moments": timed(moments),
        **{step: timed(partial(steps, step)) for step in STEPS},
        **{attack.__name__: partial(_loaded, name, folder) for name, attack in LOADS.items()},
        "nights": partial(nights, folder),
    }


def _timed(
    way: Callable[[Path, random.Random, float], Attack], folder: Path, seconds: float, chance: random.Random
) -> Attack:
    return way(folder, chance, time.monotonic() + seconds)


def _loaded(name: str, folder: Path, _: random.Random) -> Attack:
    return Attack(name, LOADS[name](folder / LOADS[name].__name__, LEAST[name]))


def main() -> None:
    """Make attacks, two of them side by side, and write a line for each."""
    names = attacks(Path(), 0)
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=480.0)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--only", nargs="+", choices=names, default=list(names))
    options = asked.parse_args()
    # Kills at places and moments and each group of a command's calls have equal shares of the time, in two lanes; loads
    # and nights take as long as they take.
    share = options.minutes * 60 * AT_ONCE / (2 + len(STEPS))
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    ways = attacks(folder, share)
    # Threads would take turns: what heals runs in Python, as the servers do. Each attack has a process of its own, for
    # the nights measure theirs.
    alone = {"mp_context": multiprocessing.get_context("spawn"), "max_tasks_per_child": 1}
    with ProcessPoolExecutor(AT_ONCE, initializer=template.use, initargs=(folder,), **alone) as pool:
        begun = [pool.submit(ways[name], random.Random(f"{options.seed} {name}")) for name in options.only]
        failed = None
        for done in as_completed(begun):
            if done.cancelled():
                continue
            if error := done.exception():
                failed = failed or error
                traceback.print_exception(error)
                for waiting in begun:  # what is under way comes to its end, and tells
                    waiting.cancel()
            else:
                _tell(done.result().line(options.seed))
    if failed:
        sys.exit(f"a soak failed: what it left is in {folder}")
    shutil.rmtree(folder)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    readme = ROOT / "README.md"
    readme.write_text(drawn([line], readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
