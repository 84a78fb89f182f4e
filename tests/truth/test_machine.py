"""The promise under anything that may happen, in any order; the server's own memory is the truth.

Completions are stored, edited, edited back, deleted, expire and come back; runs end well, meet failing servers or are
killed, sweep in slices, and what they keep is forgotten and rebuilt in between. `verify` must agree with the model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pipeline import failpoints
from pipeline.failpoints import FailpointError
from pipeline.forget import forget
from pipeline.nightly import Asked
from pipeline.repair import repair
from pipeline.sandbox.faults import Fault
from pipeline.verify import verify

from .world import DAY, HOUR, World, assert_kept_once, lives, prove, same, versions

MINUTE = 60
#: What may be cut short.
WALK = ["run.page", "run.extracted", "archive.cut", "archive.entered", "files.written", "files.renamed", "run.loaded"]
LOAD = ["parquet.merged", "parquet.manifest", "duckdb.deleted", "duckdb.inserted", "duckdb.committed"]
SHOW = ["snapshot.checkpointed", "snapshot.copied", "snapshot.renamed"]
#: Places that an act passes, where there is anything for it to do.
ACTS = {
    "run": [*WALK, *LOAD, *SHOW],
    "sweep": [*WALK, "run.swept", *LOAD, *SHOW],
    "forget": ["forget.buried", "archive.rewritten", "forget.rewritten", "forget.rebuilt", "files.exchanged", *SHOW],
    "rebuild": ["rebuild.loaded", "files.exchanged", *LOAD, *SHOW],
}
PLANS = [(act, name) for act in ("run", *ACTS) for name in ACTS[act]]
texts = st.sampled_from(["red", "green", "blue"])


class Nights(RuleBasedStateMachine):
    """Stores, edits and deletes at the server, runs that end well, and runs that do not."""

    crashes = 0
    """In all that was run so far."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.world = World(Path(self.folder), sweep_every=1e9).__enter__()
        self.kept = {}
        """The latest version shown of every completion, but for those forgotten."""
        self.forgotten = set()
        self.edited = {}
        self.too_late = set()
        self.parquet = self.duckdb = True

    def teardown(self):
        try:
            self.world.server.app.faults = ()
            if self.world.data.exists():
                self.run_with()
                self.everything_shown_is_kept()
                self.verify_agrees()
        finally:
            self.world.__exit__()
            shutil.rmtree(self.folder)

    # -- at the server ----------------------------------------------------------------------------------------

    @rule(ago=st.integers(0, HOUR), count=st.integers(1, 6), hidden=st.sampled_from([0, 0, 0, MINUTE, 2 * HOUR]))
    def store(self, ago, count, hidden):
        now = int(self.world.clock())
        self.world.add(now - ago, count, visible_at=now + hidden)

    @rule(ago=st.integers(10 * HOUR, 2 * DAY), count=st.integers(1, 3))
    def store_beyond_the_overlap(self, ago, count):
        self.too_late |= {*self.world.add(int(self.world.clock()) - ago, count)}

    @rule(data=st.data(), text=texts)
    def edit(self, data, text):
        if id_ := self.pick(data, self.world.store.visible_ids()):
            self.edited[id_] = json.loads(self.world.store.retrieve(id_))["metadata"]
            self.world.store.edit(id_, {"colour": text})

    @rule(data=st.data())
    def take_the_edit_back(self, data):
        if id_ := self.pick(data, self.world.store.visible_ids() & self.edited.keys()):
            self.world.store.edit(id_, self.edited.pop(id_))

    @rule(data=st.data())
    def delete(self, data):
        if id_ := self.pick(data, self.world.store.visible_ids()):
            self.world.store.delete(id_)

    @rule(hours=st.sampled_from([1, 12, 24, 48]))
    def expire(self, hours):
        for id_, body in self.world.store.bodies().items():
            if json.loads(body)["created"] < self.world.clock() - hours * HOUR:
                self.world.store.delete(id_)

    @rule(data=st.data())
    def come_back(self, data):
        if id_ := self.pick(data, self.world.store.lost.keys() - self.world.store.visible_ids()):
            self.too_late.add(self.world.store.add(self.world.store.lost.pop(id_)))

    @rule(seconds=st.sampled_from([1, MINUTE, HOUR, 5 * HOUR, DAY]))
    def time_passes(self, seconds):
        self.world.clock.advance(seconds)

    # -- at the data folder -----------------------------------------------------------------------------------

    @rule(parquet=st.booleans(), duckdb=st.booleans())
    def switch_destinations(self, parquet, duckdb):
        self.parquet, self.duckdb = parquet, duckdb

    @rule()
    def lose_parquet(self):
        shutil.rmtree(self.world.folder.parquet, ignore_errors=True)

    @rule(published=st.booleans())
    def lose_duckdb(self, published):
        self.world.folder.warehouse.unlink(missing_ok=True)
        if published:
            self.world.folder.snapshot.unlink(missing_ok=True)

    @rule(data=st.data(), upstream=st.booleans())
    def forget(self, data, upstream):
        if id_ := self.pick(data, self.kept.keys() - self.forgotten):
            done = forget(self.config(), ids=[id_], upstream=upstream)
            assert (done.held, done.not_held) == (1, 0)
            assert not (upstream and id_ in self.world.store.visible_ids())
            self.take_note_of_what_is_forgotten({id_})
            assert self.held().keys() == self.kept.keys()

    @rule(what=st.sampled_from(["parquet", "duckdb", "all", "ledger", "blobs"]))
    def rebuild(self, what):
        if self.world.archive().last:
            assert all(done.exit_code == 0 for done in repair(self.config(), what))
            parquet = what == "parquet" or (what == "all" and self.parquet)
            prove(self.world.data, parquet=parquet, duckdb=what == "duckdb" or (what == "all" and self.duckdb))

    # -- runs ---------------------------------------------------------------------------------------------------

    @rule(vanish=st.integers(0, 5))
    def run(self, vanish):
        before = self.world.position()
        self.ends_well(self.run_with(*self.anchor_vanishes(vanish)), before)

    @rule(requests=st.sampled_from([1, 2, 5, 20]), accepts=st.booleans())
    def sweep_a_slice(self, requests, accepts):
        before = self.world.position()
        asked = Asked(sweep=True, accepts_losses=accepts)
        self.ends_well(self.run_with(asked=asked, sweep_requests=requests), before)

    @rule()
    def sweep_everything(self):
        """End a sweep that was begun, and sweep once more: then gone is what is not listed."""
        for _ in range(2):
            result = self.run_with(asked=Asked(sweep=True, accepts_losses=True))
        assert result.sources[0].missed == 0
        self.everything_shown_is_kept()
        visible, position = self.world.store.visible_ids(), self.world.position()
        read = {id_ for id_, body in self.kept.items() if json.loads(body)["created"] <= position}
        assert visible - self.forgotten <= self.kept.keys() - self.gone()
        assert read - self.gone() <= visible
        self.too_late.clear()
        self.verify_agrees(against_api=True)

    @rule(
        pages=st.integers(1, 12), vanish=st.integers(0, 5), kind=st.sampled_from(["500", "money"]), sweep=st.booleans()
    )
    def run_into_a_failing_server(self, pages, vanish, kind, sweep):
        is_new = not self.world.data.exists()
        before = self.world.position()
        failing = Fault(kind, self.world.lists() + pages + is_new, times=0)
        result = self.run_with(*self.anchor_vanishes(vanish), failing, asked=Asked(sweep=sweep))
        self.everything_shown_is_kept()
        assert before is None or self.world.position() >= before
        if result.sources[0].exit_code == 0 or result.sources[0].lost:
            self.counts_add_up(result.sources[0])
        else:
            assert not result.sources[0].complete
        if is_new and not self.world.data.exists():
            return  # nobody answered: nothing was made
        prove(self.world.data, parquet=self.parquet, duckdb=self.duckdb)

    @rule(data=st.data(), plan=st.sampled_from(PLANS), number=st.sampled_from([1, 1, 1, 2, 4]))
    def crash(self, data, plan, number):
        what, name = plan
        before = self.world.position()
        meant = {self.pick(data, self.kept.keys())} - {None}
        self.world.store.shown.clear()
        try:
            with failpoints.armed(f"{name}=raise:{number}"):
                self.act(what, meant)
        except FailpointError:
            Nights.crashes += 1
        archive = self.world.archive()
        self.take_note_of_what_is_forgotten({id_ for id_ in meant if archive.tombstones.cover(id_)})
        shown = {}
        for id_, body in self.world.store.shown:
            shown.setdefault(id_, []).append(body)
        held = self.held()
        assert self.kept.keys() <= held.keys() <= (self.kept.keys() | shown.keys()) - self.forgotten
        for id_, body in held.items():
            assert any(same(body, one) for one in [*shown.get(id_, ()), *filter(None, [self.kept.get(id_)])])
        assert before is None or self.world.position() >= before
        self.kept = held

    def act(self, what, meant):
        if what in {"run", "sweep"}:
            self.run_with(asked=Asked(sweep=what == "sweep"))
        elif meant and what == "forget":
            forget(self.config(), ids=sorted(meant))
        elif self.world.archive().last and what == "rebuild":
            repair(self.config(), "all")

    # -- what must hold -----------------------------------------------------------------------------------------

    def config(self):
        return self.world.config(parquet=self.parquet, duckdb=self.duckdb)

    def run_with(self, *faults, **options):
        self.world.server.app.faults = faults
        before, gone = self.world.archive().last, self.gone()
        try:
            return self.world.run(parquet=self.parquet, duckdb=self.duckdb, **options)
        finally:
            self.world.server.app.faults = ()
            self.what_is_claimed_is_held(since=before)
            assert not (self.gone() - gone) & self.world.store.visible_ids()

    def ends_well(self, result, before):
        """Expect a complete run, unless nothing held is listed any more or most of it is missed."""
        source = result.sources[0]
        is_stopped = "--accept-losses" in (source.hint or "")
        assert (result.exit_code, source.complete) == (3 if source.lost or is_stopped else 0, not is_stopped)
        self.everything_shown_is_kept()
        self.counts_add_up(source)
        self.the_servers_truth_is_held(since=-1 if before is None else before - 4 * HOUR)
        is_early = {"early-end"} & {finding.code for finding in source.findings}
        assert self.world.position() == int(self.world.clock()) or is_early
        prove(self.world.data, parquet=self.parquet, duckdb=self.duckdb)

    def verify_agrees(self, **options):
        verdict = verify(self.config(), **options)
        assert verdict.unexplained == 0, verdict
        told = [(proof.held, proof.gone, proof.forgotten) for proof in verdict.proofs]
        there = [(len(self.kept), len(self.gone()), len(self.forgotten))]
        assert told == there or not (self.kept or self.forgotten)

    def anchor_vanishes(self, pages):
        """Delete the row asked behind, some pages into the walk, and those that the walk retreats to."""
        return [Fault("delete", self.world.lists() + pages, times=14, value="after")] if pages else []

    def pick(self, data, ids):
        return data.draw(st.sampled_from(sorted(ids))) if ids else None

    def held(self):
        return {id_: every[-1] for id_, every in versions(self.world.archive()).items()}

    def gone(self):
        return {id_ for id_, life in lives(self.world.archive()).items() if life[-1] is None}

    def take_note_of_what_is_forgotten(self, ids):
        self.forgotten |= ids
        self.kept = {id_: body for id_, body in self.kept.items() if id_ not in ids}

    def what_is_claimed_is_held(self, since):
        archive = self.world.archive()
        held, listed = self.held(), self.world.store.bodies()
        for footer in archive.footers[since:]:
            for span in footer.reading.spans:
                assert span.asked_at <= self.world.clock()
                inside = {id_ for id_, body in listed.items() if covers(span, json.loads(body)["created"])}
                assert inside <= held.keys() | self.forgotten

    def everything_shown_is_kept(self):
        shown = {id_: body for id_, body in self.world.store.shown if id_ not in self.forgotten}
        expected = self.kept | shown
        found = lives(self.world.archive())
        assert found.keys() == expected.keys()
        for id_, life in found.items():
            assert same(next(body for body in reversed(life) if body), expected[id_])
        assert_kept_once(self.world.archive())
        assert not self.gone() & shown.keys() & self.world.store.visible_ids()
        self.kept = self.held()

    def counts_add_up(self, told):
        assert told.new + told.changed + told.skipped == len(dict(self.world.store.shown).keys() - self.forgotten)

    def the_servers_truth_is_held(self, since):
        listed = self.world.store.bodies()
        assert listed.keys() - self.too_late - self.forgotten <= self.kept.keys()
        for id_, body in listed.items():
            is_read_again = json.loads(body)["created"] > since and id_ not in self.too_late | self.forgotten
            assert not is_read_again or same(body, self.kept[id_])


def covers(span, second):
    return (span.start is None or span.start < second) and second <= span.end


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
class TestNights(Nights.TestCase):
    """A few nights, on every run of the suite."""

    settings = settings(max_examples=3, stateful_step_count=12, deadline=None, suppress_health_check=_QUIET)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestManyNights(Nights.TestCase):
    """Many of them, of which some crash."""

    def runTest(self):  # noqa: N802 - unittest's name
        """Run them; where nothing crashed the rule for it is not worth its name."""
        before = Nights.crashes
        super().runTest()
        assert Nights.crashes > before

    settings = settings(max_examples=7, stateful_step_count=20, deadline=None, suppress_health_check=_QUIET)
