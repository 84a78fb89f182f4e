"""The soak: every attack for as long as there is time, and the table of the README from what was seen.

``python -m tests.faults.soak --minutes 120 --seed 1`` (``make soak``) ends with an error at the first thing lost or
noticed, and says which attack it was; the same seed chooses the same blows. Only a soak that ends well writes a table.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.truth.reader import DONE
from tests.truth.test_kills import PASSED, ROOT, Victim, watched

from . import load
from .strike import ACTIONS, JOBS, WATCHED, blows

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN, END = "<!-- soak: written by `make soak` -->", "<!-- /soak -->"
COLUMNS = "| attack | how often | lost | what readers saw | seconds to heal: middle, most |"
#: Nights in a row, and how many of the first and the last are compared.
NIGHTS, EDGE = 1_000, 100
#: Strikes on one data folder: more make it larger, and proving it slower.
CHAIN = 12


@dataclass
class Attack:
    """One line of the table: how often it was tried, and how long the run took that mended it."""

    name: str
    healed: list[float] = field(default_factory=list)
    note: str = ""

    def line(self) -> str:
        """Write it; whatever was lost or seen would have ended the soak."""
        most = f"{statistics.median(self.healed):.1f}, {max(self.healed):.1f}"
        return f"| {self.name}{self.note} | {len(self.healed):,} | 0 | nothing | {most} |"


#: What each job of a command is called.
STEPS = {name: f"`{name}`: a system call kills it, fails (EIO), or finds the disk full (ENOSPC)" for name in JOBS}
PLACES, MOMENTS = "`run`: SIGKILL at a named place", "`run`: SIGKILL at any moment"
LOADS = {
    "two runs at the same moment": load.two_at_once,
    f"{load.READERS} readers while a run publishes": load.many_readers,
    "a reader that keeps a snapshot open": load.held_open,
    "an analyst who writes into the snapshot and is killed": load.rude_analyst,
    "a data folder that is copied and goes on elsewhere": load.moved_elsewhere,
}
IN_A_ROW = "nights in a row in one process, nothing wrong with them"
#: Every attack, in the order of the table.
NAMES = (PLACES, MOMENTS, *STEPS.values(), *LOADS, IN_A_ROW)


def steps(name: str, folder: Path, chance: random.Random, until: float) -> Attack:
    """Strike a command at system calls chosen by chance, in chains, until time is up."""
    attack = Attack(STEPS[name])
    number = 0
    while not attack.healed or time.monotonic() < until:
        number += 1
        parent = folder / f"{name}-{number}"
        parent.mkdir()
        with watched(parent) if name in WATCHED else nullcontext(), JOBS[name](parent / name) as victim:
            every = [blow for calls in victim.rehearsed().values() for blow in blows(calls, ACTIONS)]
            for blow in chance.sample(every, min(CHAIN, len(every))):
                victim.strike(blow)
                attack.healed.append(victim.healed)
            victim.end()
            (parent / name / DONE).touch()
    return attack


def places(folder: Path, chance: random.Random, until: float) -> Attack:
    """Kill runs at named places of the program, chosen by chance."""
    attack = Attack(PLACES)
    return _killed(attack, folder, until, lambda victim: victim.run_and_die(f"{chance.choice(PASSED)}=kill:1"))


def moments(folder: Path, chance: random.Random, until: float) -> Attack:
    """Kill runs at moments chosen by chance."""
    attack = Attack(MOMENTS)
    return _killed(attack, folder, until, lambda victim: victim.run_for(chance.uniform(0.2, 1.2)))


def _killed(attack: Attack, folder: Path, until: float, kill: Callable[[Victim], bool]) -> Attack:
    number = 0
    while not attack.healed or time.monotonic() < until:
        number += 1
        parent = folder / f"{'place' if attack.name == PLACES else 'moment'}-{number}"
        parent.mkdir()
        with watched(parent), Victim(parent / "victim") as victim:
            for _ in range(CHAIN):
                if kill(victim):
                    attack.healed.append(load.healed(victim))
            (parent / "victim" / DONE).touch()
    return attack


def loads(folder: Path, times: int) -> list[Attack]:
    """Make the attacks of ``load``."""
    return [Attack(name, attack(folder / attack.__name__, times)) for name, attack in LOADS.items()]


def nights(folder: Path) -> Attack:
    """Run night after night; say how time, memory and files grew."""
    seconds, memory, files = load.nights(folder / "nights", NIGHTS)
    first, last = statistics.median(seconds[:EDGE]), statistics.median(seconds[-EDGE:])
    grown = (memory[-1] - memory[EDGE]) / 1024
    note = (
        f" (a night took {first:.2f} s at first, {last:.2f} s at last; memory grew by {grown:.0f} MB; {files:,} files)"
    )
    return Attack(IN_A_ROW, seconds, note)


def table(attacks: list[Attack], seed: int) -> str:
    """Draw what stands in the README."""
    when = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, seed {seed}, on {dt.timedelta(seconds=round(time.monotonic() - BEGAN))}"
    )
    lines = [COLUMNS, "|---|---|---|---|---|", *(attack.line() for attack in attacks)]
    return "\n".join([BEGIN, f"Measured on {when} hours.", "", *lines, END])


def write(drawn: str) -> None:
    """Put the table in the place of the former one."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    readme.write_text(before + drawn + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    """Make every attack, and write the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=180.0)
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    chance = random.Random(options.seed)
    share = options.minutes * 60 / (len(JOBS) + 3)
    attacks: list[Attack] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attacks += (_told(kill(folder, chance, time.monotonic() + 1.5 * share)) for kill in (places, moments))
        attacks += (_told(steps(job, folder, chance, time.monotonic() + share)) for job in JOBS)
        attacks += map(_told, loads(folder, 10))
        attacks.append(_told(nights(folder)))
    write(table(attacks, options.seed))


def _told(attack: Attack) -> Attack:
    sys.stderr.write(f"{attack.line()}\n")
    return attack


BEGAN = time.monotonic()

if __name__ == "__main__":
    main()
