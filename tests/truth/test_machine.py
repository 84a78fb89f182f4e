"""The promise under anything that may happen, in any order; the server's own memory is the truth."""

from __future__ import annotations

import itertools
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
from pipeline.sandbox.faults import Fault

from .world import DAY, HOUR, World, prove, same, versions

MINUTE = 60
texts = st.sampled_from(["red", "green", "blue"])


class Nights(RuleBasedStateMachine):
    """Stores, edits and deletes at the server, runs that end well, and runs that do not."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.world = World(Path(self.folder), sweep_every=1e9).__enter__()
        self.kept = {}
        self.edited = {}
        self.too_late = set()
        self.parquet = self.duckdb = True

    def teardown(self):
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

    # -- runs ---------------------------------------------------------------------------------------------------

    @rule(vanish=st.integers(0, 5))
    def run(self, vanish):
        before = self.world.position()
        result = self.run_with(*self.anchor_vanishes(vanish))
        lost = result.sources[0].lost is not None  # nothing held is listed any more: said once, with 3
        assert (result.exit_code, result.sources[0].complete) == (3 if lost else 0, True)
        self.everything_shown_is_kept()
        self.counts_add_up(result.sources[0])
        self.the_servers_truth_is_held(since=-1 if before is None else before - 4 * HOUR)
        assert self.world.position() == int(self.world.clock())
        prove(self.world.data, parquet=self.parquet, duckdb=self.duckdb)

    @rule(pages=st.integers(1, 8), vanish=st.integers(0, 5), kind=st.sampled_from(["500", "money"]))
    def run_into_a_failing_server(self, pages, vanish, kind):
        is_new = not self.world.data.exists()
        before = self.world.position()
        failing = Fault(kind, self.world.lists() + pages + is_new, times=0)
        result = self.run_with(*self.anchor_vanishes(vanish), failing)
        self.everything_shown_is_kept()
        assert before is None or self.world.position() >= before
        if result.sources[0].exit_code == 0 or result.sources[0].lost:
            self.counts_add_up(result.sources[0])
        else:
            assert not result.sources[0].complete
        if is_new and not self.world.data.exists():
            return  # nobody answered: nothing was made
        prove(self.world.data, parquet=self.parquet, duckdb=self.duckdb)

    @rule(name=st.sampled_from(failpoints.NAMES), number=st.integers(1, 6))
    def crash(self, name, number):
        before = self.world.position()
        try:
            with failpoints.armed(f"{name}=raise:{number}"):
                self.run_with()
        except FailpointError:
            pass
        shown = {}
        for id_, body in self.world.store.shown:
            shown.setdefault(id_, []).append(body)
        held = self.held()
        assert self.kept.keys() <= held.keys() <= self.kept.keys() | shown.keys()
        for id_, body in held.items():
            assert any(same(body, one) for one in [*shown.get(id_, ()), *filter(None, [self.kept.get(id_)])])
        assert before is None or self.world.position() >= before
        self.kept = held

    # -- what must hold -----------------------------------------------------------------------------------------

    def run_with(self, *faults):
        self.world.server.app.faults = faults
        before = self.world.archive().last
        try:
            return self.world.run(parquet=self.parquet, duckdb=self.duckdb)
        finally:
            self.world.server.app.faults = ()
            self.what_is_claimed_is_held(since=before)

    def anchor_vanishes(self, pages):
        """Delete the row asked behind, some pages into the walk, and those that the walk retreats to."""
        return [Fault("delete", self.world.lists() + pages, times=14, value="after")] if pages else []

    def pick(self, data, ids):
        return data.draw(st.sampled_from(sorted(ids))) if ids else None

    def held(self):
        return {id_: every[-1] for id_, every in versions(self.world.archive()).items()}

    def what_is_claimed_is_held(self, since):
        archive = self.world.archive()
        held, listed = self.held(), self.world.store.bodies()
        for footer in archive.footers[since:]:
            for span in footer.reading.spans:
                assert span.asked_at <= self.world.clock()
                inside = {id_ for id_, body in listed.items() if covers(span, json.loads(body)["created"])}
                assert inside <= held.keys()

    def everything_shown_is_kept(self):
        expected = self.kept | dict(self.world.store.shown)
        held = versions(self.world.archive())
        assert held.keys() == expected.keys()
        for id_, every in held.items():
            assert same(every[-1], expected[id_])
            assert not any(same(one, following) for one, following in itertools.pairwise(every))
        self.kept = {id_: every[-1] for id_, every in held.items()}

    def counts_add_up(self, told):
        assert told.new + told.changed + told.skipped == len(dict(self.world.store.shown))

    def the_servers_truth_is_held(self, since):
        listed = self.world.store.bodies()
        assert listed.keys() - self.too_late <= self.kept.keys()
        for id_, body in listed.items():
            assert json.loads(body)["created"] <= since or same(body, self.kept[id_])


def covers(span, second):
    return (span.start is None or span.start < second) and second <= span.end


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


class TestNights(Nights.TestCase):
    """A few nights, on every run of the suite."""

    settings = settings(max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=_QUIET)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestManyNights(Nights.TestCase):
    """Many of them."""

    settings = settings(max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=_QUIET)
