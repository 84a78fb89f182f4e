"""Forgetting reaches every source and every place, whatever fails on the way, and touches nothing else."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from dataclasses import replace

import pytest

from pipeline import failpoints
from pipeline import forget as forgetting
from pipeline.archive import segments
from pipeline.archive.tombstones import Tombstones, digest
from pipeline.config import Config
from pipeline.errors import FolderError, IncompleteError, RefusedError, ServerError, UsageError
from pipeline.failpoints import FailpointError
from pipeline.forget import forget
from pipeline.nightly import export
from pipeline.repair import repair
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.listing import ApiError
from pipeline.status import status
from pipeline.verify import verify

from .world import NOW, World, completion, rows_of_duckdb

NAMES = ("prod", "second", "third")
#: Held by every source, of which one user is to be forgotten.
IDS = [f"c{number}" for number in range(4)]


@pytest.fixture
def worlds(tmp_path):
    """Serve three sources, of which the first two hold four completions each, and the third waits for its first run."""
    with ExitStack() as opened:
        made = [opened.enter_context(World(_folder(tmp_path, name), limit=10)) for name in NAMES]
        for name, world in zip(NAMES, made, strict=True):
            for number, id_ in enumerate(IDS):
                body = completion(f"{name}-{id_}", NOW - 1000 + number)
                world.store.add({**body, "metadata": {"user": str(number % 2)}})
        assert export(settings(made[:2])).exit_code == 0
        yield made


def _folder(root, name):
    (root / name).mkdir()
    return root / name


def settings(worlds, **options):
    """Make the settings of some of the sources, in the data folder of the first."""
    sources = [replace(world.source(), name=name) for name, world in zip(NAMES, worlds, strict=False)]
    return Config(data=worlds[0].data, sources=tuple(sources), **options)


def in_snapshot(worlds, table="completions"):
    return {row["id"] for row in rows_of_duckdb(worlds[0].folder.snapshot)[table]}


def failing(world, monkeypatch, after):
    """Let the source answer deletes with 503, after some."""
    delete, done = world.store.delete, []

    def fail(id_):
        if len(done) == after:
            raise ApiError(503, f"cannot delete {id_}")
        done.append(id_)
        delete(id_)

    monkeypatch.setattr(world.store, "delete", fail)


# -- at the source ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_fails_at_the_source_is_forgotten_here_and_can_be_tried_again(worlds, monkeypatch):
    """A source that fails half way stops nothing here; the error says how many are left there, and the way to try."""
    config = settings(worlds[:2])
    with monkeypatch.context() as patch:
        failing(worlds[0], patch, after=1)
        done = forget(config, metadata={"user": "1"}, upstream=True)
    assert (done.held, done.deleted_upstream, done.absent_upstream) == (4, 3, 0)
    assert not {"prod-c1", "prod-c3", "second-c1", "second-c3"} & in_snapshot(worlds)
    assert isinstance(done.failure, ServerError)
    assert "1 of 4 completions were not deleted at the source: source prod: 503" in done.failure.message
    _, _, again = done.failure.hint.partition("to try again: pipeline forget --upstream ")
    ids = [word for word in shlex.split(again) if word != "--id"]
    assert ids == ["prod-c3"]
    assert "prod-c3" in worlds[0].store.visible_ids()
    done = forget(config, ids=ids, upstream=True)
    assert (done.held, done.deleted_upstream, done.failure) == (0, 1, None)
    assert worlds[0].store.visible_ids() == {"prod-c0", "prod-c2"}
    assert verify(config).exit_code == 0


@pytest.mark.slow
def test_an_id_is_deleted_at_every_source_whatever_is_held(worlds):
    """By id, each source of the settings is asked, also for what is not held; what none has any more is told apart."""
    worlds[1].store.add(completion("late", NOW - 10))
    worlds[0].store.delete("prod-c0")
    done = forget(settings(worlds), ids=["late", "third-c0", "prod-c0", "nowhere"], upstream=True)
    assert (done.held, done.not_held, done.deleted_upstream, done.absent_upstream) == (1, 3, 2, 2)
    assert "late" not in worlds[1].store.visible_ids()
    assert "third-c0" not in worlds[2].store.visible_ids()


@pytest.mark.slow
def test_the_key_of_another_project_deletes_nothing(worlds):
    """A key that suddenly answers for another project is refused before the first delete."""
    worlds[0].server.app.faults = (Fault("other-project", 1, times=0),)
    done = forget(settings(worlds[:2]), ids=["prod-c0"], upstream=True)
    assert isinstance(done.failure, RefusedError)
    assert "the key now answers for project" in done.failure.message
    assert "put the former key back" in done.failure.hint
    assert "prod-c0" in worlds[0].store.visible_ids()
    assert "prod-c0" not in in_snapshot(worlds)


@pytest.mark.slow
def test_a_source_that_is_not_configured_any_more_is_named(worlds):
    """What is held of a source that cannot be asked is forgotten, and said not to be deleted there."""
    done = forget(settings(worlds[:1]), metadata={"user": "0"}, upstream=True)
    assert isinstance(done.failure, IncompleteError)
    assert "2 of 4 completions were not deleted at the source: source second: it is not in the" in done.failure.message
    assert re.search(r"--id second-c0 --id second-c2$", done.failure.hint)
    assert done.deleted_upstream == 2
    assert forget(settings(worlds[:1]), ids=["second-c1"]).failure is None


@pytest.mark.slow
def test_an_error_here_does_not_hide_what_is_left_at_the_source(worlds, monkeypatch):
    """Where both fail, both are told: the ids are not known here any more."""

    def fail(_, __, archives):
        if any(archive.tombstones.pending for archive in archives):
            raise FolderError("the disk is gone", hint="mend it")

    failing(worlds[0], monkeypatch, after=0)
    monkeypatch.setattr(forgetting, "finish", fail)
    with pytest.raises(FolderError, match=r"the disk is gone; 1 of 1 .* not deleted") as caught:
        forget(settings(worlds[:1]), ids=["prod-c0"], upstream=True)
    assert caught.value.hint == "mend it; to try again: pipeline forget --upstream --id prod-c0"
    with pytest.raises(FolderError, match=r"^the disk is gone\n  mend it$"):
        forget(settings(worlds[:1]), ids=["prod-c1"])


# -- what is no completion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["", " ", "\n"])
@pytest.mark.slow
def test_an_empty_id_is_refused(worlds, id_):
    """A variable that is not set forgets nothing, and asks nobody."""
    with pytest.raises(UsageError, match="an id is empty"):
        forget(settings(worlds), ids=["prod-c0", id_], upstream=True)
    assert "prod-c0" in in_snapshot(worlds)


@pytest.mark.slow
def test_a_run_is_not_forgotten(worlds):
    """The id of a run is no completion's: its record stays."""
    (before,) = rows_of_duckdb(worlds[0].folder.snapshot)["runs"][:1]
    done = forget(settings(worlds), ids=[before["run_id"]])
    assert (done.held, done.not_held) == (0, 1)
    assert before in rows_of_duckdb(worlds[0].folder.snapshot)["runs"]


@pytest.mark.slow
def test_coverage_stays_whatever_was_buried(worlds):
    """A tombstone of the empty id, as earlier versions wrote it, takes nothing away and is no damage."""
    before = rows_of_duckdb(worlds[0].folder.snapshot)["coverage"]
    worlds[0].archive().bury(Tombstones(frozenset({digest("")})))
    config = settings(worlds[:2])
    forget(config, ids=["prod-c0"])
    assert rows_of_duckdb(worlds[0].folder.snapshot)["coverage"] == before
    assert verify(config).exit_code == 0


# -- in every source -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [{"metadata": {"user": "1"}}, {"ids": ["prod-c1", "second-c1", "third-c1"]}])
@pytest.mark.parametrize(
    "buried", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "finish", [export, pytest.param(lambda config: repair(config, "all"), marks=pytest.mark.slow, id="rebuild")]
)
@pytest.mark.slow
def test_interrupted_at_any_tombstone_it_is_finished_for_all(worlds, by, buried, finish):
    """Whichever source has its tombstones already, the next run or rebuild takes what is meant out of every source."""
    config = settings(worlds)
    with pytest.raises(FailpointError), failpoints.armed(f"forget.buried=raise:{buried}"):
        forget(config, **by)
    finish(config)
    export(config)
    meant = {"prod-c1", "second-c1", "third-c1"} if "ids" in by else {"prod-c1", "prod-c3", "second-c1", "second-c3"}
    everything = {f"{name}-{id_}" for name in NAMES for id_ in IDS}
    assert in_snapshot(worlds) == everything - meant
    assert not any(worlds[0].archive(name).tombstones.pending for name in NAMES)
    assert verify(config).exit_code == 0


@pytest.mark.slow
def test_a_source_that_has_not_run_yet_takes_in_nothing_forgotten(worlds):
    """What is named before a source's first run is refused by it; until then the source holds nothing, for anyone."""
    config = settings(worlds)
    before = status(config)
    forget(config, ids=["third-c2"])
    assert [replace(one, age_seconds=0) for one in status(config)] == [replace(one, age_seconds=0) for one in before]
    assert [proof.source for proof in verify(config).proofs if proof.segments] == ["prod", "second"]
    assert verify(config).exit_code == 0
    for what in ("all", "ledger", "blobs"):
        assert not any(done.exit_code for done in repair(config, what))
    result = export(config)
    assert (result.exit_code, result.sources[2].new, result.sources[2].forgotten > 0) == (0, 3, True)
    assert "third-c2" not in in_snapshot(worlds)


@pytest.mark.slow
def test_a_source_that_is_only_implied_is_not_made(worlds):
    """Without settings the environment implies a source; where others are held it gets no folder."""
    forget(settings(worlds, is_implied=True), ids=["prod-c0"])
    assert segments.sources(worlds[0].folder.archive) == ["prod", "second"]


@pytest.mark.slow
def test_what_is_forgotten_already_costs_nothing(worlds, monkeypatch):
    """Asked again for what is not held and buried everywhere, nothing is made anew."""
    config = settings(worlds)
    forget(config, ids=["prod-c0", "unknown"])
    monkeypatch.setattr(forgetting, "_make_anew", None)
    done = forget(config, ids=["prod-c0", "unknown"])
    assert (done.held, done.not_held) == (0, 2)


def test_a_destination_that_cannot_be_reached_stops_no_export(worlds, monkeypatch):
    """What is new is kept all the same, the run tells what is left to forget, and the next one does it."""
    whole = forgetting._make_anew

    def unreachable(*_):
        raise ServerError("s3://tables does not answer", hint="try again")

    monkeypatch.setattr(forgetting, "_make_anew", unreachable)
    with pytest.raises(ServerError):
        forget(settings(worlds[:2]), ids=["prod-c1"])
    worlds[0].store.add(completion("new", NOW - 10))
    result = export(settings(worlds[:2]))
    assert (result.exit_code, result.sources[0].new) == (75, 1)
    assert [told.destination for told in result.destinations if told.error and "not gone everywhere" in told.error]
    monkeypatch.setattr(forgetting, "_make_anew", whole)
    assert export(settings(worlds[:2])).exit_code == 0
    assert "prod-c1" not in in_snapshot(worlds)
    assert "new" in in_snapshot(worlds)
    assert verify(settings(worlds[:2])).unexplained == 0
