"""Delta tables through a whole life, in a folder and on a server: they say what the other destinations say."""

from __future__ import annotations

import os
import random
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("deltalake", reason="deltalake is not here: `make test-all` runs these tests in .venv-delta")

from deltalake import DeltaTable, write_deltalake

from pipeline.forget import forget
from pipeline.nightly import export
from pipeline.repair import repair
from pipeline.schema import TABLES
from pipeline.verify import verify
from tests import s3
from tests.load.made import in_order
from tests.load.test_delta import rows_of
from tests.s3 import server  # noqa: F401 - a fixture
from tests.test_readme import blocks

from .test_kills import Victim
from .world import HOUR, World, rows_of_parquet

WHERE = ["folder", pytest.param("server", marks=pytest.mark.skipif(s3.program() is None, reason="no SeaweedFS here"))]


class DeltaWorld(World):
    """A world whose settings name Delta tables, in the data folder or elsewhere."""

    place: bool | str = True
    options: dict[str, str] = {}  # noqa: RUF012 - set for one test, and never changed
    logprobs = False

    def config(self, **settings):
        made = super().config(**settings)
        return replace(made, delta=self.place, delta_options=self.options, logprobs=self.logprobs)

    def root(self):
        return str(self.folder.delta) if self.place is True else self.place

    def tables(self):
        """Read every table as another program would."""
        return {name: in_order(rows_of(f"{self.root()}/{name}", name, told(self.options))) for name in TABLES}

    def prove(self):
        """Prove that the tables say what the Parquet dataset says, and that verify agrees."""
        assert self.tables() == rows_of_parquet(self.data)
        verdict = verify(self.config())
        assert (verdict.problems, verdict.notes) == ((), ())
        assert "delta" in verdict.compared

    def lives(self):
        """Export some nights in which completions come, one by one also late, and one is edited and one deleted."""
        for night in range(3):
            now = int(self.clock())
            self.add(now - 5, 3)
            edited, *_ = self.add(now - HOUR, 2)
            assert self.run().exit_code == 0
            self.store.edit(edited, {"edited": str(night)})
            self.clock.advance(2 * HOUR)
        self.store.delete(edited)
        assert self.run().exit_code == 0


def told(options):
    """Return options with the keys that they name, as the program would."""
    return {name: os.environ[value[4:]] if value.startswith("env:") else value for name, value in options.items()}


@pytest.fixture(params=WHERE)
def world(request, tmp_path, server, monkeypatch):  # noqa: F811 - pytest hands it in
    """Serve completions, and a place for Delta tables."""
    with DeltaWorld(tmp_path) as one:
        if request.param == "server":
            monkeypatch.setenv("DELTA_SECRET", server["aws_secret_access_key"])
            one.place = f"s3://{s3.BUCKET}/{tmp_path.name}"
            one.options = {**server, "aws_secret_access_key": "env:DELTA_SECRET"}
        yield one


def everything(world):
    """Yield what is said in any data file or file of a log, decompressed, whatever version refers to it."""
    if world.place is True:
        root = world.folder.delta
        paths = [path for path in root.rglob("*") if path.is_file()]
        for path in paths:
            yield (
                str(pq.read_table(path, partitioning=None).to_pylist())
                if path.suffix == ".parquet"
                else path.read_text()
            )
        return
    from deltalake.fs import DeltaStorageHandler  # noqa: PLC0415 - there, for these tests run at all
    from pyarrow.fs import FileSelector, PyFileSystem  # noqa: PLC0415 - as above

    place = PyFileSystem(DeltaStorageHandler(world.root(), told(world.options)))
    for info in place.get_file_info(FileSelector("", recursive=True)):
        if info.is_file:
            with place.open_input_file(info.path) as file:
                is_data = info.path.endswith(".parquet")
                yield str(pq.read_table(file).to_pylist()) if is_data else file.read().decode()


def test_a_life(world):
    """Whatever comes, is edited and goes: Delta tables say what Parquet says, through a rebuild and after it."""
    world.lives()
    world.prove()
    assert [(one.exit_code, one.error) for one in repair(world.config(), "delta")] == [(0, None)]
    world.prove()
    world.lives()
    world.prove()


def test_tables_of_another_layout_are_made_anew(tmp_path):
    """Where the tables are to be others, a run makes them anew from the archive, and goes on from there."""
    with DeltaWorld(tmp_path) as world:
        world.add(int(world.clock()) - 5, 3)
        assert world.run().exit_code == 0
        world.logprobs = True
        world.add(int(world.clock()) - 3)
        assert world.run().exit_code == 0
        world.prove()


def test_a_table_of_somebody_else_is_refused(world, tmp_path):
    """Where a table of others has the name of one of ours, runs and rebuilds say so and touch nothing."""
    if world.place is True:
        world.place = str(tmp_path / "lake")
    options, theirs = told(world.options) or None, pa.table({"athlete": ["a", "b"], "km": [5, 10]})
    write_deltalake(f"{world.root()}/runs", theirs, storage_options=options)
    world.add(int(world.clock()) - 5, 3)
    ended = world.run()
    assert ended.exit_code == 78
    said = [(one.exit_code, one.error, one.hint) for one in ended.destinations if one.destination == "delta"]
    assert said == [(one.exit_code, one.error, one.hint) for one in repair(world.config(), "delta")]
    assert said[0][1].endswith("/runs is not ours")
    assert "name another place" in said[0][2]
    found = DeltaTable(f"{world.root()}/runs", storage_options=options)
    assert (found.version(), found.to_pyarrow_dataset().to_table()) == (0, theirs)
    assert not any(rows_of(f"{world.root()}/{name}", name, options) for name in TABLES if name != "runs")


def test_a_changed_row_is_named_and_mended(world):
    """A row that somebody took away is named by verify, and a rebuild puts it back."""
    world.lives()
    options = told(world.options)
    lost = world.tables()["completions"][0]["id"]
    table = DeltaTable(f"{world.root()}/completions", storage_options=options or None)
    table.delete(f"id = '{lost}'")
    (problem,) = verify(world.config()).problems
    assert problem.kind == "delta-differs"
    assert lost in problem.message
    assert problem.repair == "pipeline rebuild delta"
    if world.place is True:  # elsewhere they may be another data folder's
        rows = table.to_pyarrow_dataset().to_table()
        foreign = rows.set_column(rows.column_names.index("source"), rows.schema.field("source"), [["x"] * len(rows)])
        write_deltalake(table, foreign, mode="append")
        assert any(problem.where.startswith("completions, x,") for problem in verify(world.config()).problems)
    assert [one.error for one in repair(world.config(), "delta")] == [None]
    world.prove()


def test_a_restore_is_named_and_mended(world):
    """Where another program restores an older version, verify names what is missing, and a rebuild brings it back."""
    world.lives()
    lost, *_ = world.add(int(world.clock()) - 3)
    assert world.run().exit_code == 0
    table = DeltaTable(f"{world.root()}/completions", storage_options=told(world.options) or None)
    table.restore(table.version() - 1)
    (problem,) = verify(world.config()).problems
    assert (problem.kind, problem.repair) == ("delta-differs", "pipeline rebuild delta")
    assert lost in problem.message
    assert [one.error for one in repair(world.config(), "delta")] == [None]
    world.prove()


def test_what_is_forgotten_is_in_no_version(world):
    """After forgetting no file, of data or log, current or old, says anything of it; all others are there."""
    world.lives()
    (forgotten,) = world.add(int(world.clock()) - 3, metadata={"user": "needle-in-metadata"})
    (kept,) = world.add(int(world.clock()) - 3)
    assert world.run().exit_code == 0
    said = "".join(everything(world))
    assert all(one in said for one in (forgotten, "needle-in-metadata", kept))
    done = forget(world.config(), ids=[forgotten])
    assert (done.held, done.failure) == (1, None)
    assert any("versions of objects" in place for place in done.out_of_reach) is (world.place is not True)
    said = "".join(everything(world))
    assert [one for one in (f"'{forgotten}'", f"I am {forgotten}", "needle-in-metadata") if one in said] == []
    assert kept in said
    world.prove()


@pytest.mark.parametrize("how", ["{}", "file://{}", "{}/../delta"])
def test_forgetting_leaves_the_data_folders_own_tables(tmp_path, how):
    """Tables in the data folder that the settings name as a folder are there after forgetting, and whole."""
    with DeltaWorld(tmp_path) as world:
        world.place = how.format(world.folder.delta)
        forgotten, *_ = world.add(int(world.clock()) - 5, 3)
        assert world.run().exit_code == 0
        assert forget(world.config(), ids=[forgotten]).failure is None
        world.place = True
        assert len(world.tables()["completions"]) == 2
        world.prove()


def test_tables_left_in_the_data_folder_are_forgotten(tmp_path):
    """Tables in the data folder are removed by forgetting where the settings name another place."""
    with DeltaWorld(tmp_path) as world:
        forgotten, *_ = world.add(int(world.clock()) - 5, 3)
        assert world.run().exit_code == 0
        world.place = str(tmp_path / "elsewhere")
        assert world.run().exit_code == 0
        assert forget(world.config(), ids=[forgotten]).failure is None
        assert not world.folder.delta.exists()
        world.prove()


def test_no_content_is_in_the_log(world):
    """The log tells counts, dates and sources; no id, no text and no metadata, in entries and in checkpoints."""
    world.add(int(world.clock()) - 3, metadata={"user": "needle-in-metadata"})
    assert world.run().exit_code == 0
    options = told(world.options)
    for name in TABLES:
        table = DeltaTable(f"{world.root()}/{name}", storage_options=options or None)
        table.create_checkpoint()
    logs = [text for text in everything(world) if "commitInfo" in text or "'metaData'" in text]
    assert len(logs) >= 3 * len(TABLES)
    assert [word for word in ("needle-in-metadata", "I am c", "'c0'", '"c0"', "call-c") if word in "".join(logs)] == []


@pytest.mark.parametrize("snippet", [snippet for snippet in blocks("python") if "delta" in snippet])
def test_the_readme_reads_them(tmp_path, monkeypatch, snippet):
    """The README's snippets for Delta tables run as they stand, in DuckDB and in polars."""
    with DeltaWorld(tmp_path) as world:
        world.add(int(world.clock()) - 3)
        assert world.run().exit_code == 0
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102 - the README is ours


@pytest.mark.parametrize(("share", "modes"), [("none", {0o700, 0o600}), ("group", {0o750, 0o640})])
def test_modes(tmp_path, share, modes):
    """The tables are private, or the group's to read, log and all, whatever the umask, also where share changes."""
    with DeltaWorld(tmp_path) as world:
        for setting in ("none" if share == "group" else "group", share):
            before = os.umask(0)
            try:
                world.add(int(world.clock()) - 3)
                assert export(replace(world.config(), share=setting)).exit_code == 0
            finally:
                os.umask(before)
            world.clock.advance(HOUR)
        found = [world.folder.delta, *world.folder.delta.rglob("*")]
        assert {stat.S_IMODE(path.stat().st_mode) for path in found} == modes


def test_two_data_folders_share_a_place(tmp_path):
    """Two exports that load into one place at once lose nothing and disturb nothing, rebuilding and forgetting too."""
    with ExitStack() as opened:
        worlds = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            one = opened.enter_context(DeltaWorld(tmp_path / name))
            one.place = str(tmp_path / "shared")
            worlds.append(one)

        def config(number):
            made = worlds[number].config()
            return replace(made, sources=(replace(made.sources[0], name=f"source{number}"),))

        def held():
            tables = {name: in_order(rows_of(tmp_path / "shared" / name, name)) for name in TABLES}
            both = [rows_of_parquet(world.data) for world in worlds]
            return tables, {name: in_order([*both[0][name], *both[1][name]]) for name in TABLES}

        def night(number):
            world = worlds[number]
            world.add(int(world.clock()) - 5, 3)
            assert export(config(number)).exit_code == 0

        with ThreadPoolExecutor(2) as pool:
            for _ in range(3):
                list(pool.map(night, (0, 1)))
                found, wanted = held()
                assert found == wanted
                for world in worlds:
                    world.clock.advance(HOUR)
        assert [one.error for one in repair(config(0), "delta")] == [None]
        assert forget(config(1), ids=["c1"]).held == 1
        found, wanted = held()
        assert found == wanted
        assert [verify(config(number)).problems for number in (0, 1)] == [(), ()]


class DeltaVictim(Victim, DeltaWorld):
    """A victim whose runs load Delta tables as well."""

    settings = Victim.settings + "[destinations]\ndelta = true\n"

    def recover(self):
        super().recover()
        self.prove()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["delta.written", "delta.committed", "files.renamed"])
def test_a_killed_run_is_mended_by_the_next(tmp_path, name):
    """SIGKILL before, between and after commits, at first and later: the next run makes all tables right."""
    with DeltaVictim(tmp_path / "victim") as victim:
        for number in (1, 7, 11):
            victim.run_and_die(f"{name}=kill:{number}")
            victim.recover()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["delta.committed", "delta.written", "rebuild.loaded", "forget.rebuilt"])
def test_a_killed_rebuild_or_forgetting_is_finished(tmp_path, name):
    """SIGKILL while tables are made anew: readers see old or new ones, and what comes next finishes."""
    with DeltaVictim(tmp_path / "victim") as victim:
        victim.something_happens()
        victim.recover()
        ids = sorted(row["id"] for row in victim.tables()["completions"])
        for number in (1, 11):
            forgotten = ids.pop()
            command = ("forget", "--id", forgotten, "--yes")
            victim.dies(f"{name}=kill:{number}", command)
            seen = {row["id"] for row in victim.tables()["completions"]}
            assert seen >= set(ids)
            victim.run()
            victim.prove()
            assert forgotten not in {row["id"] for row in victim.tables()["completions"]}
            assert f"I am {forgotten}" not in "".join(everything(victim))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_any_time(tmp_path):
    """SIGKILL at random moments of a run."""
    at = random.Random(3)
    with DeltaVictim(tmp_path / "victim") as victim:
        victim.something_happens()
        victim.recover()
        for _ in range(4):
            victim.run_for(at.uniform(0.5, 3.0))
            victim.recover()
