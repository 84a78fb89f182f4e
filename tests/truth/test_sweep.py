"""The sweep: what happens to completions after they were read is found, and nothing is called gone that is not."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from dataclasses import replace

import duckdb
import pytest

from pipeline import nightly
from pipeline.adopt import adopt
from pipeline.archive import coverage, marks
from pipeline.errors import ServerError
from pipeline.extract.client import Client
from pipeline.nightly import Asked, export
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.listing import ApiError
from pipeline.sandbox.shape import Shape
from pipeline.sweeping import Sweeping

from .world import DAY, HOUR, NOW, World, prove, versions

MONTH = 30 * DAY
#: Nights whose tables nobody looks at.
BARE = {"parquet": False, "duckdb": False}


@pytest.fixture
def world(tmp_path):
    """Serve completions of three weeks, one every six hours, to a source that is swept when asked."""
    with World(tmp_path, limit=5) as one:
        one.ids = [one.add(NOW - age)[0] for age in range(21 * DAY, 0, -6 * HOUR)]
        one.run(**BARE)
        yield one


def sweep(world, *, accept=False, **settings):
    """Run once, with a sweep."""
    world.clock.advance(HOUR)
    return export(world.config(**settings), asked=Asked(sweep=True, accepts_losses=accept))


def rows(world, sql):
    """Ask the snapshot."""
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def findings(result):
    """Return the codes of what the run found."""
    return {finding.code for finding in result.sources[0].findings}


def gone(world):
    """Return why each gone completion went."""
    return dict(rows(world, "SELECT id, gone_reason FROM completions WHERE gone_at IS NOT NULL"))


def test_an_old_edit_is_found_and_both_versions_are_told(world):
    """An edit beyond the overlap is found by a sweep only; the history says which metadata held from when to when."""
    old = world.ids[5]
    world.store.edit(old, {"team": "search"})
    assert world.run().sources[0].changed == 0
    result = sweep(world)
    assert (result.exit_code, result.sources[0].changed, result.sources[0].gone) == (0, 1, 0)
    first, second = rows(
        world,
        "SELECT metadata, valid_from, valid_to FROM metadata_history "
        f"WHERE completion_id = '{old}' ORDER BY valid_from",
    )
    assert (first[0], second[0], first[2], second[2]) == ({}, {"team": "search"}, second[1], None)
    prove(world.data)


@pytest.mark.slow
def test_a_deletion_is_told_with_when_it_was_last_seen(world):
    """A completion that was deleted is gone after its own GET said so, with when it was last listed."""
    old = world.ids[40]
    world.store.delete(old)
    seen = world.clock()
    result = sweep(world)
    assert (result.exit_code, result.sources[0].gone, result.sources[0].missed) == (0, 1, 0)
    assert gone(world) == {old: "deleted"}
    (told,) = rows(
        world,
        "SELECT epoch(gone_last_seen), epoch(gone_first_missed), epoch(gone_at) FROM completions "
        "WHERE gone_at IS NOT NULL",
    )
    assert told == (seen, seen + HOUR, seen + HOUR)
    assert sweep(world).sources[0].gone == 0
    prove(world.data)


@pytest.mark.slow
def test_expiry_is_told_from_deletion(world):
    """What went because it was as old as anything the source ever listed expired; what went before it was deleted."""
    for _ in range(10):
        world.clock.advance(DAY)
        expire(world, MONTH)
        world.run(**BARE)
    expired = {id_ for id_ in world.ids if id_ not in world.store.visible_ids()}
    deleted = world.ids[-20]
    world.store.delete(deleted)
    result = sweep(world)
    assert result.sources[0].gone == len(expired) + 1 > 2
    assert gone(world) == {**dict.fromkeys(expired, "expired"), deleted: "deleted"}
    assert rows(world, "SELECT count(*) FROM completions") == [(len(world.ids),)]
    prove(world.data)


def expire(world, horizon):
    """Let the server forget what is older than ``horizon``."""
    for id_, body in world.store.bodies().items():
        if json.loads(body)["created"] < world.clock() - horizon:
            world.store.delete(id_)


def test_what_no_run_has_seen_is_found(world):
    """A completion that became visible long after it was created is taken in, and the run says so."""
    (late,) = world.add(NOW - 10 * DAY)
    assert world.run().sources[0].new == 0
    result = sweep(world)
    assert result.sources[0].new == 1
    assert "found-by-sweep" in {finding.code for finding in result.sources[0].findings}
    assert late in versions(world.archive())


@pytest.mark.slow
def test_gone_and_back(world):
    """A completion that is listed again after it was found gone is a new version, and gone no more."""
    body = world.store.bodies()[world.ids[3]]
    world.store.delete(world.ids[3])
    sweep(world)
    assert gone(world) == {world.ids[3]: "deleted"}
    world.store.add(body)
    assert sweep(world).sources[0].changed == 1
    assert gone(world) == {}
    history = rows(world, f"SELECT valid_to IS NULL FROM metadata_history WHERE completion_id = '{world.ids[3]}'")
    assert sorted(history) == [(False,), (True,)]
    prove(world.data)


@pytest.mark.slow
def test_a_sweep_is_spread_over_nights(world):
    """Within a budget of requests a sweep goes on where it was, and coverage says how far it is."""
    world.store.delete(world.ids[2])
    world.store.delete(world.ids[-30])
    told = []
    for _ in range(40):
        world.clock.advance(HOUR)
        asked = Asked(sweep=not told)
        result = export(world.config(sweep_requests=3, **BARE), asked=asked)
        assert result.exit_code == 0
        told.append(result.sources[0].swept_through)
        if told[-1].timestamp() >= NOW:
            break
    assert told == sorted(told)
    assert len(told) > 5
    while export(world.config(sweep_requests=3, **BARE)).sources[0].missed:
        world.clock.advance(HOUR)
    world.run()
    assert gone(world) == {world.ids[2]: "deleted", world.ids[-30]: "deleted"}
    (spans,) = rows(world, "SELECT count(*) FROM coverage WHERE sweep = 1")
    assert spans[0] >= len(told)
    prove(world.data)


@pytest.mark.slow
def test_a_sweep_comes_by_itself_every_week(world):
    """Without being asked for, a sweep begins when the last one, or the first export, is seven days old."""
    world.store.delete(world.ids[-40])
    for day in range(1, 9):
        world.clock.advance(DAY)
        result = world.run(**BARE)
        assert (result.sources[0].swept_through is not None, result.sources[0].gone) == (day >= 7, int(day == 7))


@pytest.mark.slow
@pytest.mark.parametrize("emptied", [True, False])
def test_most_of_what_is_held_is_not_marked_without_a_word(world, emptied):
    """A sweep that misses most of what is held calls nothing gone and ends with 3, until it is told to accept it."""
    for id_ in world.ids[: None if emptied else -20]:
        world.store.delete(id_)
    before = world.archive().footers[-1].gone
    result = sweep(world)
    assert result.exit_code == 3
    assert "--accept-losses" in result.sources[0].hint
    assert (gone(world), before) == ({}, 0)
    result = sweep(world, accept=True)
    assert result.sources[0].gone == len(world.ids) - (0 if emptied else 20)
    prove(world.data)


@pytest.mark.parametrize("emptied", [True, False])
@pytest.mark.slow
def test_age_is_no_excuse_where_the_list_shrank(world, emptied):
    """However many runs saw a short list since a project was emptied, its completions did not expire."""
    for id_ in world.ids[: None if emptied else -1]:
        world.store.delete(id_)
    for _ in range(12):
        world.clock.advance(HOUR)
        world.add(int(world.clock()) - 5, 0 if emptied else 1)
        world.run(**BARE)
    assert sweep(world).exit_code == 3
    assert gone(world) == {}
    world.clock.advance(22 * DAY if emptied else 9 * DAY)  # now some of it is older than anything that was ever listed
    assert (sweep(world).exit_code, gone(world)) == (3, {})


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.slow
def test_the_guard_sees_the_whole_sweep(world, accept):
    """A sweep in slices calls nothing gone before it has read everything, and stops where it missed most so far."""
    there = {id_ for place, id_ in enumerate(world.ids) if place % 5 < 2}
    for id_ in {*world.ids} - there:
        world.store.delete(id_)
    codes = []
    for _ in range(40):
        result = export(world.config(sweep_requests=6, **BARE), asked=Asked(True, accept))
        codes.append(result.exit_code)
        swept, read = coverage.latest_sweep(world.archive().spans(world.source().fingerprint))
        assert result.sources[0].gone == 0 or coverage.is_swept(swept, read) or swept.number > 1
        world.clock.advance(60)
    assert codes[-1] == (0 if accept else 3)
    world.run()
    assert gone(world).keys() == ({*world.ids} - there if accept else set())


@pytest.mark.slow
def test_what_came_back_and_what_was_adopted_counts_as_held(tmp_path):
    """The guard weighs what is missed against the states held, whatever way they came in."""
    with World(tmp_path, limit=20, sweep_every=1e9) as world:
        ids = [world.add(NOW - age)[0] for age in range(10 * DAY, 0, -DAY)]
        saved = tmp_path / "saved.jsonl"
        saved.write_bytes(b"\n".join(world.store.bodies().values()))
        assert adopt(world.config(), saved, source="prod").new == 10
        world.run(**BARE)
        bodies = world.store.bodies()
        for id_ in ids[1:5]:
            world.store.delete(id_)
        assert sweep(world, **BARE).sources[0].gone == 4
        for id_ in ids[1:5]:
            world.store.add(bodies[id_])
        assert sweep(world, **BARE).sources[0].changed == 4
        for id_ in ids[4:8]:
            world.store.delete(id_)
        assert (sweep(world).exit_code, gone(world).keys()) == (0, {*ids[4:8]})


@pytest.mark.slow
def test_a_filter_added_later_calls_nothing_missed(tmp_path):
    """What the filters of a source do not admit is not looked for in its list; what they do admit is."""
    with World(tmp_path, limit=20) as world:
        ids = [world.add(NOW - age, model="m" if age % DAY else "gpt-x")[0] for age in range(9 * DAY, 0, -8 * HOUR)]
        world.run(**BARE)
        world.clock.advance(HOUR)
        world.run(model="gpt-x", **BARE)
        assert sweep(world, model="gpt-x", **BARE).sources[0].missed == 0
        world.store.delete(ids[3])
        result = sweep(world, model="gpt-x")
        assert (result.exit_code, result.sources[0].missed, gone(world)) == (0, 0, {ids[3]: "deleted"})
        assert "unlisted" not in findings(result)


@pytest.mark.parametrize("requests", [3, 10])
@pytest.mark.slow
def test_slices_over_a_thinned_list_get_on(world, requests):
    """Anchors that went do not eat up the budget: each slice of a sweep brings it further."""
    deleted = {id_ for place, id_ in enumerate(world.ids) if place % 5}
    for id_ in deleted:
        world.store.delete(id_)
    told = []
    for night in range(60):
        asked = Asked(sweep=not night, accepts_losses=True)
        source = export(world.config(sweep_requests=requests, **BARE), asked=asked).sources[0]
        told.append((source.swept_through.timestamp(), -source.missed))
        if source.swept_through.timestamp() >= NOW and not source.missed:
            break
        world.clock.advance(60)
    assert all(before < after for before, after in itertools.pairwise(told))
    world.run()
    assert gone(world).keys() == deleted


@pytest.mark.slow
def test_a_sweep_that_stands_still_says_so(tmp_path):
    """A slice whose requests bring the sweep no further is a finding that says what to raise."""
    with World(tmp_path, limit=4, sweep_every=1e9) as world:
        world.add(NOW - 3 * DAY)
        world.add(NOW - 2 * DAY, 30)
        world.add(NOW - DAY)
        world.run(**BARE)
        told = [sweep(world, sweep_requests=1, sweep_walks=1, **BARE) for _ in range(2)]
        assert [result.exit_code for result in told] == [0, 0]
        assert "sweep-stuck" in findings(told[-1])


@pytest.mark.slow
def test_missed_completions_have_a_share_of_the_budget(world):
    """However often a sweep is asked for, what the one before missed is asked for as well."""
    for id_ in world.ids[30:60]:
        world.store.delete(id_)
    for _ in range(20):
        result = sweep(world, sweep_requests=15, **BARE)
    assert (result.exit_code, result.sources[0].missed) == (0, 0)
    world.run()
    assert gone(world).keys() == {*world.ids[30:60]}


def test_gone_needs_the_rows_own_word(world):
    """A completion that is not listed and yet answers for itself is not gone; the run says that there is one."""
    hidden = world.ids[7]
    world.store.hide(hidden)
    result = sweep(world)
    assert (result.sources[0].gone, gone(world)) == (0, {})
    assert "unlisted" in {finding.code for finding in result.sources[0].findings}


@pytest.mark.slow
def test_a_server_that_answers_for_none_makes_none_gone(world):
    """Where not even a completion that is listed answers for itself, "not found" says nothing of those missed."""
    world.store.delete(world.ids[7])
    world.server.app.faults = [Fault("404", times=0, route="retrieve")]
    result = sweep(world)
    assert (result.exit_code, result.sources[0].gone, result.sources[0].missed) == (0, 0, 1)
    assert "missed-unanswered" in findings(result)
    world.server.app.faults = []
    assert world.run().sources[0].gone == 1


@pytest.mark.parametrize(
    "refusal", [ApiError(400, "Bad request: try later"), ApiError(500, "The server had an error.", kind="server_error")]
)
@pytest.mark.slow
def test_an_answer_that_does_not_say_not_found_calls_nothing_gone(world, refusal):
    """A refusal or an error of one completion's own GET leaves that one waiting, and holds up no other."""
    poisoned, deleted = world.ids[7], world.ids[8]
    world.store.hide(poisoned)
    world.store.delete(deleted)
    answer = world.store.retrieve

    def retrieve(id_):
        if id_ == poisoned:
            raise refusal
        return answer(id_)

    world.store.retrieve = retrieve
    result = sweep(world)
    assert (result.exit_code, result.sources[0].missed, gone(world)) == (0, 1, {deleted: "deleted"})
    assert "missed-unanswered" in findings(result)
    world.store.retrieve = answer
    result = world.run()
    assert (result.sources[0].missed, findings(result)) == (0, {"unlisted"})


@pytest.mark.slow
def test_gone_where_an_unknown_completion_is_a_bad_request(tmp_path):
    """OGX answers 400 in words for a completion that it does not know: that is not found."""
    with World(tmp_path, Shape.named("ogx"), limit=20, sweep_every=1e9) as world:
        ids = [world.add(NOW - age)[0] for age in range(5 * DAY, 0, -6 * HOUR)]
        world.run(**BARE)
        world.store.delete(ids[5])
        assert sweep(world).sources[0].gone == 1
        assert gone(world) == {ids[5]: "deleted"}


@pytest.mark.slow
def test_a_missed_completion_that_is_listed_again_is_found(world):
    """A sweep that shows what a former one missed ends the wait; it is no version and not gone."""
    body = world.store.retrieve(world.ids[7])
    world.store.delete(world.ids[7])
    world.server.app.faults = [Fault("404", times=0, route="retrieve")]
    assert sweep(world, **BARE).sources[0].missed == 1
    world.store.add(body)
    result = sweep(world)
    assert (result.sources[0].missed, result.sources[0].changed, gone(world)) == (0, 0, {})


@pytest.mark.slow
def test_segments_of_a_sweep_are_cut_by_size(world):
    """A sweep that finds everything edited keeps it in segments as large as those of any walk."""
    for id_ in world.ids:
        world.store.edit(id_, {"team": "search"})
    before = world.archive().last
    assert sweep(world, **BARE).sources[0].changed == len(world.ids)
    archive = world.archive()
    sizes = [archive.columns(number, ["body"]).nbytes for number in range(before + 1, archive.last + 1)]
    assert max(sizes) < 2 * 2000 + 5 * 500  # the size asked for, a page more, and the marks
    prove(world.data, parquet=False, duckdb=False)


@pytest.mark.slow
def test_a_sweep_that_cannot_be_begun_says_so(world):
    """Where the oldest completion is not told nothing is swept: 3 for a sweep that was asked for, else a finding."""
    ask = Fault("500", at=1, times=0)

    def fail_at_the_look_back(request):
        is_it = request.route == "list" and request.query == {"limit": "1", "order": "asc"}
        world.server.app.faults = [ask] if is_it else []
        request.faults = (ask,) if is_it else ()

    world.server.app.on_request = fail_at_the_look_back
    result = sweep(world, **BARE)
    assert (result.exit_code, findings(result), result.sources[0].swept_through) == (3, {"not-looked"}, None)
    assert "not swept" in result.sources[0].why_not
    result = world.run(**BARE)
    assert (result.exit_code, findings(result)) == (0, {"not-looked"})


def test_asking_one_by_one_is_bounded_and_goes_on(world):
    """What the budget does not reach waits as missed, and the next run asks for it without sweeping again."""
    for id_ in world.ids[30:60]:
        world.store.delete(id_)
    first = sweep(world, sweep_requests=40)
    assert first.sources[0].missed > 0
    lists = world.lists()
    world.clock.advance(HOUR)
    second = export(world.config(sweep_requests=40))
    assert world.lists() - lists < 5
    assert (second.sources[0].missed, first.sources[0].gone + second.sources[0].gone) == (0, 30)
    assert rows(world, "SELECT count(gone_at) FROM completions") == [(30,)]


@pytest.mark.slow
def test_nothing_is_missed_in_a_second_in_doubt(tmp_path):
    """In a second that the server cannot be made to show whole, nothing is called missed."""
    with World(tmp_path, Shape(max_limit=10), limit=10) as world:
        world.add(NOW - 3 * DAY)
        crowd = world.add(NOW - 2 * DAY, 60)
        world.add(NOW - DAY, 3)
        world.run()
        held = [id_ for id_ in crowd if id_ in versions(world.archive())]
        assert len(held) > 10
        world.store.delete(held[0])
        result = sweep(world)
        assert (result.sources[0].missed, result.sources[0].gone) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("cursor", ["second", "exact"])
def test_walks_side_by_side_lose_no_row(tmp_path, monkeypatch, cursor):
    """Many walks between known anchors find every edit and every deletion, whatever shares a second."""
    monkeypatch.setattr("pipeline.sweeping.PART", 40)
    rng = random.Random(3)
    with World(tmp_path, Shape(cursor=cursor), limit=7, sweep_walks=8) as world:
        for _ in range(200):
            world.add(NOW - rng.randrange(DAY, 5 * DAY) // 60 * 60, rng.choice([1, 1, 1, 2, 5]))
        world.run(**BARE)
        ids = sorted(world.store.visible_ids())
        edited, deleted = set(ids[::9]), set(ids[4::31])
        for id_ in edited - deleted:
            world.store.edit(id_, {"colour": "red"})
        for id_ in deleted:
            world.store.delete(id_)
        late = world.add(NOW - 3 * DAY, 4)
        world.server.app.latency = 0.02  # long enough for the walks to meet at the server
        result = sweep(world)
        assert 1 < world.server.most_in_flight <= 8
        assert (result.exit_code, result.sources[0].changed) == (0, len(edited - deleted))
        assert result.sources[0].gone == len(deleted)
        assert set(late) <= versions(world.archive()).keys()
        assert gone(world) == dict.fromkeys(deleted, "deleted")
        prove(world.data)


def test_a_sweep_that_fails_keeps_what_it_found(world):
    """Where the server fails in the middle, what was walked is kept and claimed, and the next run goes on."""
    world.store.edit(world.ids[0], {"team": "search"})
    world.store.delete(world.ids[-30])
    world.server.app.faults = [Fault("500", at=world.lists() + 12, times=0)]
    result = sweep(world, sweep_walks=1)
    assert result.exit_code == 75
    world.server.app.faults = []
    world.clock.advance(HOUR)
    after = world.run()
    assert (after.exit_code, gone(world)) == (0, {world.ids[-30]: "deleted"})
    assert result.sources[0].changed + after.sources[0].changed == 1
    prove(world.data)


def test_what_is_under_way_while_another_walk_fails_is_kept(tmp_path, monkeypatch):
    """A page that one walk of a sweep is being shown holds a late row: it is kept, although another walk fails."""
    with World(tmp_path, limit=100, overlap=60.0, sweep_walks=4, segment_size=8_000_000) as world:
        for number in range(3000):
            world.add(NOW - 400_000 + number * 100)
        world.run(**BARE)
        (late,) = world.add(NOW - 400_000 + 150 * 100 + 1)
        real, is_shown = Client.list, threading.Event()

        def list_(client, request):
            answer = real(client, request)
            if any(row.id == late for row in getattr(answer, "rows", ())):
                is_shown.set()
                time.sleep(0.5)
            elif threading.current_thread() is not threading.main_thread() and is_shown.wait(0.3):
                raise ServerError("the server failed")
            return answer

        monkeypatch.setattr(Client, "list", list_)
        assert sweep(world, **BARE).exit_code == ServerError.exit_code
        assert late in versions(world.archive())


def test_what_a_page_shows_beyond_its_part_is_kept(tmp_path, monkeypatch):
    """The last page of a part shows a late row of the next part, which had been read: it is kept, and found late."""
    with World(tmp_path, limit=10, overlap=60.0, sweep_walks=1) as world:
        monkeypatch.setattr("pipeline.sweeping.LEAST_PART", 30)
        world.ids = [world.add(NOW - 40_000 + number * 100)[0] for number in range(100)]
        world.run(**BARE)
        late = []
        real = Sweeping._finish

        def finish(sweeping, part, read_to, asked_at):
            real(sweeping, part, read_to, asked_at)
            if not late:
                late.extend(world.add(part.end))  # of a part that has been read, shown again with the next one

        monkeypatch.setattr(Sweeping, "_finish", finish)
        result = sweep(world, **BARE)
        assert late[0] in {id_ for id_, _ in world.store.shown}
        assert set(versions(world.archive())) == world.store.visible_ids()
        assert findings(result) == {"found-by-sweep"}
        assert world.run().exit_code == 0
        prove(world.data)


def test_an_older_version_that_a_neighbour_was_shown_is_not_the_latest(tmp_path, monkeypatch):
    """Edited between the page of one part and that of the next, a late row ends with what the source says last."""
    monkeypatch.setattr("pipeline.sweeping.LEAST_PART", 30)
    with World(tmp_path, limit=10, overlap=60.0, sweep_walks=1, segment_size=8_000_000) as world:
        for number in range(100):
            world.add(NOW - 40_000 + number * 100)
        world.run(**BARE)
        (late,) = world.add(marks.boundaries(world.archive(), 30)[0] + 1)
        real, shown = world.store.list, []

        def list_(query=None):
            listing = real(query)
            if any(json.loads(body)["id"] == late for body in listing.rows):
                shown.append(late)
                if len(shown) == 1:
                    world.store.edit(late, {"edited": "yes"})
            return listing

        world.store.list = list_
        sweep(world, **BARE)
        kept = [json.loads(body)["metadata"] for body in versions(world.archive())[late]]
        assert len(shown) > 1
        assert kept == [{}, {"edited": "yes"}]


@pytest.mark.parametrize("ends", [False, True], ids=["sweep", "both ends"])
def test_what_is_under_way_while_a_guard_ends_another_walk_is_kept(tmp_path, monkeypatch, ends):
    """A walk that stops at an order that is not kept costs nothing of what another one is being shown."""
    monkeypatch.setattr(nightly, "SLOW", 0)
    monkeypatch.setattr(nightly, "LONG", 1 if ends else 1000)
    with World(tmp_path, limit=100, overlap=60.0, sweep_walks=4, segment_size=8_000_000) as world:
        for number in range(3000):
            world.add(NOW - 400_000 + number * 100)
        if not ends:
            world.run(**BARE)
        (late,) = world.add(NOW - 400_000 + (2850 if ends else 150) * 100 + 1)
        real, is_shown = Client.list, threading.Event()

        def list_(client, request):
            answer = real(client, request)
            if any(row.id == late for row in answer.rows):
                is_shown.set()
                time.sleep(0.5)
            elif threading.current_thread() is not threading.main_thread() and is_shown.wait(0.3):
                return replace(answer, rows=answer.rows[::-1])
            return answer

        monkeypatch.setattr(Client, "list", list_)
        result = world.run(**BARE) if ends else sweep(world, **BARE)
        assert (result.exit_code, late in versions(world.archive())) == (3, True)


def test_cuts_lie_where_the_completions_are(tmp_path):
    """The newest completions, which a first export keeps with the oldest, draw no cut to themselves."""
    with World(tmp_path, limit=50, segment_size=3000) as world:
        for number in range(400):
            world.add(NOW - 400_000 + number * 100)
        world.run(**BARE)
        cuts = [(second - NOW + 400_000) // 100 for second in marks.boundaries(world.archive(), 40)]
        assert cuts == list(range(39, 400, 40))


def test_what_was_stored_behind_the_walk_is_kept_and_is_not_late(world):
    """A completion that is created while the sweep runs is shown by its last page, and gone before the next run."""
    real, new = world.store.list, []

    def list_(query=None):
        listing = real(query)
        if query and query.limit == 1 and not new:
            world.clock.advance(30)
            new.extend(world.add(int(world.clock()) - 5))
        return listing

    world.store.list = list_
    result = sweep(world, **BARE)
    assert new[0] in {id_ for id_, _ in world.store.shown}
    assert new[0] in versions(world.archive())
    assert findings(result) == set()


def test_a_doubt_that_a_sweep_meets_first_ends_it_with_3_once(tmp_path):
    """A second that no page shows whole is told by the first run that meets it, be that a sweep."""
    with World(tmp_path, Shape(max_limit=10), overlap=60.0) as world:
        world.ids = [world.add(NOW - 400_000 + number * 1000)[0] for number in range(30)]
        world.run(**BARE)
        world.add(NOW - 400_000 + 7000, 40)
        first = sweep(world, **BARE)
        assert (first.exit_code, first.sources[0].complete) == (3, False)
        assert "possibly-incomplete" in findings(first)
        world.clock.advance(HOUR)
        assert world.run(**BARE).exit_code == 0


def test_segments_of_few_completions_are_swept_in_parts(tmp_path, monkeypatch):
    """What nights have written is cut together: as many parts as of one large segment, and no more held in memory."""
    monkeypatch.setattr("pipeline.sweeping.LEAST_PART", 20)
    parts = []
    for size in (8_000_000, 3000):
        (tmp_path / str(size)).mkdir()
        with World(tmp_path / str(size), limit=20, segment_size=size) as world:
            for number in range(200):
                world.add(NOW - 400_000 + number * 100)
            world.run(**BARE)
            parts.append(marks.boundaries(world.archive(), 20))
    assert len(parts[0]) == 10
    assert parts[0] == parts[1]


@pytest.mark.slow
def test_filtered_sources_are_swept_one_walk_at_a_time(tmp_path, monkeypatch):
    """A metadata edit that takes a completion out of the filter is a new version, and not gone; no walk is split."""
    monkeypatch.setattr("pipeline.sweeping.LEAST_PART", 20)
    with World(tmp_path, limit=10, metadata={"team": "search"}) as world:
        ids = [world.add(NOW - age, metadata={"team": "search"})[0] for age in range(5 * DAY, 0, -HOUR)]
        world.run()
        world.store.edit(ids[30], {"team": "ads"})
        world.server.app.latency = 0.02  # long enough for walks to meet at the server
        result = sweep(world)
        assert world.server.most_in_flight == 1
        assert (result.sources[0].changed, result.sources[0].gone) == (1, 0)
        assert json.loads(versions(world.archive())[ids[30]][-1])["metadata"] == {"team": "ads"}
