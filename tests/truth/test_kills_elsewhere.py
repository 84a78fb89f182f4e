"""Commands that are killed at every named place they pass: the next run mends all, and no reader ever notices."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from math import ceil

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints
from pipeline.adopt import adopt
from pipeline.archive import tombstones
from pipeline.config import load
from pipeline.forget import forget
from pipeline.nightly import Asked, export
from pipeline.verify import verify

from .reader import DONE, LEAVING
from .test_kills import AT_ONCE, ROOT, RUN, SETTINGS, Victim, watched
from .test_messages import calls
from .test_messages import held as messages_held
from .world import DAY, assert_kept_once, completion, prove, same, versions

FLIGHT = 2
#: Bytes of a segment, and rows of input messages that wait for one at most.
SEGMENT, WAITING = 1000, 3
SHARED = "the picture of all"
#: The program, which tells at its end how often it passed each failpoint.
COUNTED = """
import atexit, json, sys
from pipeline import failpoints
from pipeline.cli.main import main
atexit.register(lambda: print(json.dumps(failpoints._passed), file=sys.stderr))
main()
"""


def uri(text):
    """Write a text as an image that is sent along."""
    return f"data:image/png;base64,{base64.b64encode(text.encode()).decode()}"


def needles(*ids):
    """Return what is nowhere once completions are forgotten: ids, and what their answers, inputs and pictures say."""
    said = {f"{what} of {id_[-5:]}" for id_ in ids for what in ("answer", "question", "picture")}
    return said.union(ids)


def texts(data):
    """Yield all that the data folder holds: every file as it is, and every table read back uncompressed."""
    for path in data.rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield str(pq.ParquetFile(path).read().to_pylist())
        if path.suffix == ".duckdb":
            with closing(duckdb.connect(path, read_only=True)) as connection:
                for (table,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall():
                    yield str(connection.sql(f"FROM {table}").fetchall())


def found(data, wanted):
    """Return what of it the data folder holds, wherever that is."""
    missing = set(wanted)
    for text in texts(data):
        missing -= {one for one in missing if one in text}
        if not missing:
            break
    return set(wanted) - missing


class Job(Victim):
    """A victim of one command, with input messages and images."""

    settings = SETTINGS.replace("2000", str(SEGMENT)) + f"messages = true\nmessages_at_once = {FLIGHT}\n"
    command = RUN

    def __init__(self, folder):
        super().__init__(folder)
        self.serial = count()

    def __enter__(self):
        super().__enter__()
        self.first_night()
        return self

    def config(self):
        return load(self.file, os.environ)

    def first_night(self):
        """Hold something of yesterday and of today."""
        self.latest = self.store_some(DAY, DAY, DAY)
        self.something_happens()
        assert self.run().exit_code == 0

    def something_happens(self):
        """Let some minutes pass in which completions are stored, and one of those before is edited."""
        self.clock.advance(600)
        self.edit_one(self.latest)
        self.latest = self.store_some(5, 5, 200, 201)

    def edit_one(self, ids):
        self.store.edit(self.random.choice(ids), {"edited": str(self.clock())})

    def store_some(self, *ages):
        """Store a completion of each age, with messages that show a picture of its own and the picture of all."""
        return [self.store.add(body, messages=_asked(body["id"])) for body in map(self.body, ages)]

    def body(self, age):
        number = f"{next(self.serial):05}"
        body = completion(f"chatcmpl-{number}", int(self.clock()) - age)
        body["choices"][0]["message"]["content"] = f"answer of {number}"
        return body | {"metadata": {"user": f"user-{number}"}}

    def rehearse(self):
        """Let the command end as it should, and count what it passes."""
        self.prepare()
        self.something_happens()
        done = subprocess.run(
            [sys.executable, "-c", COUNTED, *self.command, "--config", self.file],
            cwd=ROOT,
            env={**os.environ, failpoints.VARIABLE: "none=kill"},
            capture_output=True,
            text=True,
            check=True,
        )
        self.after()
        self.recover()
        return json.loads(done.stderr.splitlines()[-1])

    def strike(self, plan):
        """Let the command die as planned, and the next run mend it; returns whether it died."""
        self.prepare()
        self.something_happens()
        died = self.dies(plan, self.command)
        self.after(plan)
        self.recover()
        return died

    def prepare(self):
        """Make ready what the command is about."""

    def may_leave(self, ids):
        """Tell the readers which completions they may miss from now on."""
        with (self.data.parent / LEAVING).open("a", encoding="utf-8") as file:
            file.writelines(f"{id_}\n" for id_ in ids)

    def after(self, plan=""):
        """Look at what the command left."""

    def mended(self):
        """Look at what the next run made of it."""

    def end(self):
        """Look at it all, when everything is mended."""

    def recover(self):
        super().recover()
        verdict = verify(self.config())
        assert (verdict.unexplained, verdict.compared) == (0, ("parquet", "duckdb", "snapshot")), verdict
        left = {path.name for path in self.folder.private.iterdir()} - {self.folder.troubles.name, "footers"}
        assert left == {"lock", "temp", "warehouse.duckdb"}
        assert not list(self.folder.scratch.iterdir())
        self.mended()

    def compare(self, since):
        held, truth, unsure = versions(self.archive()), self.truth(), self.unsure()
        assert held.keys() - unsure == truth.keys() - unsure
        for id_ in held.keys() & truth.keys():
            assert json.loads(truth[id_])["created"] <= since or same(held[id_][-1], truth[id_])
        assert_kept_once(self.archive())
        self.prove()

    def prove(self):
        """Compare what both destinations hold with the archive."""
        prove(self.data)

    def truth(self):
        """Return what must be held: the latest body of each completion."""
        return self.store.bodies()

    def unsure(self):
        """Return the ids of which a run need not know."""
        return set()


def _asked(id_):
    parts = [{"type": "image_url", "image_url": {"url": uri(text)}} for text in (f"picture of {id_[-5:]}", SHARED)]
    return [{"role": "user", "content": [{"type": "text", "text": f"question of {id_[-5:]}"}, *parts]}]


class Running(Job):
    """A run that fetches input messages and writes their images."""

    asked = None

    def after(self, _=""):
        """Take note of what was asked; all but what was on its way is held."""
        self.asked, self.kept = calls(self), messages_held(self).keys()
        assert len(self.asked.keys() - self.kept) <= FLIGHT + WAITING

    def mended(self):
        """No messages are missing, those held were not asked for again, and all others at most once more."""
        if self.asked is None:
            return
        now = calls(self)
        assert messages_held(self).keys() == self.truth().keys() == now.keys()
        assert all(now[id_] == self.asked[id_] for id_ in self.kept)
        assert all(number <= self.asked.get(id_, 0) + 1 for id_, number in now.items())


class Sweeping(Job):
    """A sweep; beyond the reach of a run something was deleted, edited, and shown late."""

    command = ("sweep", "--json")

    def first_night(self):
        self.old = self.store_some(*range(DAY, DAY + 600, 60))
        self.stay = self.store_some(*range(DAY, DAY + 240, 60))
        self.deleted, self.late = {}, set()
        super().first_night()

    def prepare(self):
        id_ = self.old.pop(self.random.randrange(len(self.old)))
        self.deleted[id_] = self.store.bodies()[id_]
        self.store.delete(id_)
        self.edit_one(self.stay)
        self.late |= {*self.store_some(DAY)}

    def truth(self):
        return self.store.bodies() | self.deleted

    def unsure(self):
        return self.late

    def mended(self):
        """Nothing is called gone that is not."""
        assert self.gone() <= self.deleted.keys()

    def end(self):
        """Sweep undisturbed: everything that the killed ones did not find is found."""
        assert export(self.config(), asked=Asked(sweep=True)).exit_code == 0
        assert self.gone() == self.deleted.keys()
        self.late = set()
        self.compare(since=-1)

    def gone(self):
        with closing(duckdb.connect(self.folder.snapshot, read_only=True)) as connection:
            return {id_ for (id_,) in connection.sql("SELECT id FROM completions WHERE gone_at NOT NULL").fetchall()}


class Adopting(Job):
    """Completions that were saved before, with images in their answers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.path = folder / "saved.jsonl"
        self.adopted, self.saved = {}, {}

    @property
    def command(self):
        return "adopt", str(self.path), "--source", "prod"

    def prepare(self):
        bodies = [self.body(age * DAY) for age in (40, 40, 40, 41)]
        for body in bodies:
            body["choices"][0]["message"]["content"] = uri(f"picture of {body['id']}")
        self.saved = {body["id"]: json.dumps(body).encode() for body in bodies}
        self.path.write_bytes(b"\n".join(self.saved.values()))

    def truth(self):
        return self.store.bodies() | self.adopted

    def unsure(self):
        return self.saved.keys()

    def mended(self):
        """Adopt once more what is not held: then all of it is, once."""
        if self.saved:
            done = adopt(self.config(), self.path, source="prod")
            assert (done.new + done.held, done.skipped) == (len(self.saved), ())
            held = versions(self.archive())
            assert [len(held[id_]) for id_ in self.saved] == [1] * len(self.saved)
            self.adopted, self.saved = self.adopted | self.saved, {}

    def end(self):
        self.recover()


class Rebuilding(Job):
    """What can be made anew from segments; some of them were rewritten when something was forgotten."""

    def __init__(self, folder):
        super().__init__(folder)
        self.forgotten = set()

    def first_night(self):
        super().first_night()
        self.forgotten = {self.latest[0]}
        self.may_leave(self.forgotten)
        assert forget(self.config(), ids=self.forgotten).held == 1

    def prepare(self):
        self.replaces = {number: entry.replaces for number, entry in self.archive().entries.items()}
        assert any(self.replaces.values())

    def mended(self):
        """Look whether the ledger still tells which files were replaced."""
        if self.forgotten:
            entries = self.archive().entries
            assert {number: entries[number].replaces for number in self.replaces} == self.replaces

    def truth(self):
        return {id_: body for id_, body in self.store.bodies().items() if id_ not in self.forgotten}


class RebuildingAll(Rebuilding):
    """Both destinations."""

    command = ("rebuild", "all")


class RebuildingParquet(Rebuilding):
    """The dataset."""

    command = ("rebuild", "parquet")


class RebuildingDuckDB(Rebuilding):
    """The writer's file and the snapshot."""

    command = ("rebuild", "duckdb")


class RebuildingLedger(Rebuilding):
    """The ledger."""

    command = ("rebuild", "ledger")


class Forgetting(Job):
    """Completions that must go, while others of their second, their segments and their pictures stay."""

    #: Where it dies before the tombstones are there.
    TOO_EARLY = ("files.written=kill:1", "files.synced=kill:1")

    def __init__(self, folder):
        super().__init__(folder)
        self.forgotten, self.doomed = set(), []

    @property
    def command(self):
        return "forget", "--yes", *(part for id_ in self.doomed for part in ("--id", id_))

    def prepare(self):
        self.doomed, self.survivor = self.latest[1:3], self.latest[0]
        self.may_leave(self.doomed)
        self.needles = needles(*self.doomed)
        assert found(self.data, self.needles) == self.needles

    def after(self, plan=""):
        """Either all are on their way out, or nothing has happened yet."""
        told = tombstones.read(self.folder.archive / "prod")
        assert [told.cover(id_) for id_ in self.doomed] == [plan not in self.TOO_EARLY] * len(self.doomed)
        self.forgotten |= {id_ for id_ in self.doomed if told.cover(id_)}

    def mended(self):
        """Nothing of them is anywhere, and what stays is found by the same search."""
        if self.doomed:
            stay = needles(self.survivor, *(id_ for id_ in self.doomed if id_ not in self.forgotten))
            assert found(self.data, self.needles | stay) == stay

    def truth(self):
        return {id_: body for id_, body in self.store.bodies().items() if id_ not in self.forgotten}


class ForgettingByMetadata(Forgetting):
    """What has some metadata must go; asked for once more, it goes without waiting for a run."""

    @property
    def command(self):
        return "forget", "--yes", "--metadata", f"user=user-{self.doomed[0][-5:]}"

    def prepare(self):
        super().prepare()
        self.doomed = self.doomed[:1]
        self.needles = needles(*self.doomed)

    def after(self, plan=""):
        super().after(plan)
        assert not self.dies("", self.command)
        super().after()
        assert not found(self.data, self.needles)


class Finishing(Forgetting):
    """A run that finds a forgetting interrupted, and is killed while it finishes it."""

    is_forgetting = False

    @property
    def command(self):
        return super().command if self.is_forgetting else RUN

    def prepare(self):
        super().prepare()
        self.is_forgetting = True
        assert self.dies("forget.buried=kill:1", self.command)
        self.is_forgetting = False

    def after(self, _=""):
        super().after()


class FinishingBlobs(Finishing):
    """The same of a command that mends."""

    @property
    def command(self):
        return super().command if self.is_forgetting else ("rebuild", "blobs")


def kill_all(folder, job, plans):
    """Let a command die as each of the plans says, and mend it each time; returns how many died."""
    with job(folder) as victim:
        died = sum([victim.strike(plan) for plan in plans])
        victim.end()
        (folder / DONE).touch()
    return died


def rehearse(folder, job, places):
    """Count what a command passes when it ends as it should; return plans to kill it there."""
    with job(folder) as victim:
        passed = victim.rehearse()
        victim.end()
        (folder / DONE).touch()
    return [f"{name}=kill:{number}" for name, most in places.items() for number in spread(passed[name], most)]


def spread(passes, most):
    """Choose passes, evenly, the first of them and so many at most."""
    return range(1, passes + 1, ceil(passes / most))


FEW = [
    (Running, "run.messages=kill:3"),
    (RebuildingAll, "files.exchanged=kill:1"),
    (Forgetting, "forget.rewritten=kill:1"),
    (Sweeping, "run.swept=kill:2"),
]


@pytest.mark.slow
def test_a_killed_command_is_mended_by_the_next_run(tmp_path):
    """One kill each while messages are fetched, swept, rebuilt and forgotten: the next run leaves all as it must be."""
    with watched(tmp_path), ThreadPoolExecutor(AT_ONCE) as pool:
        deaths = [pool.submit(kill_all, tmp_path / plan, job, [plan]) for job, plan in FEW]
        assert [death.result() for death in deaths] == [1] * len(FEW)


#: Passes of a place, evenly from the first; a soak kills most commands at every call.
SOME = 1
PARQUET = {"parquet.merged": SOME, "parquet.manifest": SOME}
DUCKDB = dict.fromkeys(("duckdb.deleted", "duckdb.inserted", "duckdb.committed"), SOME)
SNAPSHOT = dict.fromkeys(("snapshot.checkpointed", "snapshot.copied", "snapshot.renamed"), SOME)
SWAP = {"rebuild.loaded": SOME, "files.exchanged": SOME}
#: At how many passes of which places each command is killed, at most.
PLACES = {
    Running: {"run.messages": SOME, "files.written": 1, "files.synced": 1, "files.renamed": 3},
    Sweeping: {"run.swept": SOME, "run.messages": 1, "archive.cut": 3, "archive.entered": 2},
    Adopting: {"archive.cut": SOME, "archive.entered": SOME, "files.written": 1, "files.synced": 1, "files.renamed": 3},
    RebuildingAll: {**SWAP, **PARQUET, **DUCKDB, **SNAPSHOT, "files.renamed": 2},
    RebuildingParquet: {**SWAP, "files.renamed": 1},
    RebuildingDuckDB: {"rebuild.loaded": SOME, "snapshot.copied": SOME},
    RebuildingLedger: dict.fromkeys(("files.written", "files.synced", "files.renamed"), SOME),
    Forgetting: {
        "forget.buried": SOME,
        "archive.rewritten": SOME,
        "forget.rewritten": SOME,
        **SWAP,
        "snapshot.renamed": 1,
        "forget.rebuilt": SOME,
        "files.written": 1,
        "files.synced": 1,
        "files.renamed": 2,
    },
    ForgettingByMetadata: {"forget.buried": SOME, "forget.rewritten": 2, "forget.rebuilt": SOME, "files.written": 1},
    Finishing: {"archive.rewritten": 1, "forget.rewritten": 1, **SWAP, "snapshot.copied": SOME, "forget.rebuilt": SOME},
    FinishingBlobs: {"forget.rewritten": 1, "files.exchanged": SOME, "forget.rebuilt": SOME},
}
#: Kills of one data folder.
CHAIN = 8


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("job", PLACES, ids=lambda job: job.__name__)
def test_kills_of_every_command(tmp_path, job):
    """SIGKILL at the places that a command passes: the next run mends all, and the polling readers never notice."""
    with watched(tmp_path), ThreadPoolExecutor(AT_ONCE) as pool:
        plans = rehearse(tmp_path / "rehearsal", job, PLACES[job])
        chains = [plans[first : first + CHAIN] for first in range(0, len(plans), CHAIN)]
        deaths = [pool.submit(kill_all, tmp_path / str(number), job, chain) for number, chain in enumerate(chains)]
        died = sum(death.result() for death in deaths)
    assert died >= 0.9 * len(plans)
