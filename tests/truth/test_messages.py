"""Input messages: all of them, once each, whatever happens on the way."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json

import duckdb
import pytest

from pipeline.nightly import Asked, export
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.listing import ApiError
from pipeline.sandbox.shape import Shape
from pipeline.stopping import Stop

from .world import HOUR, NOW, World, completion, prove, versions

IMAGE = b"\x89PNG" + bytes(range(256)) * 40
URI = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"


@pytest.fixture
def world(tmp_path):
    """Serve completions whose messages are asked for, many to a page and few at a time."""
    with World(tmp_path, limit=100, segment_size=4000, messages=True, messages_at_once=4, retry_attempts=20) as one:
        yield one


def store(world, count, *, ago=2 * HOUR, messages=None):
    """Store completions, one a second, each with messages of its own."""
    ids = []
    for number in range(count):
        body = completion(f"c{number:05}", NOW - ago + number)
        told = messages or [{"role": "system", "content": "be brief"}, {"role": "user", "content": f"ask {number}"}]
        ids.append(world.store.add(body, messages=told))
    return ids


def held(world):
    """Return the messages held of each completion, as the archive has them; each is there once."""
    found = {}
    for segment in world.archive().after(0):
        for row in segment.table.to_pylist():
            if row["kind"] == "messages":
                assert row["id"] not in found
                found[row["id"]] = json.loads(row["body"])
    return found


def calls(world):
    """Count the requests for messages so far, by completion; what a fault answered is left out."""
    asked = {}
    for request in world.server.requests:
        if request.route == "messages" and not request.faults:
            id_ = request.path.split("/")[-2]
            asked[id_] = asked.get(id_, 0) + 1
    return asked


def refuse(world, monkeypatch, ids, *, status=404, alone=False):
    """Let the server refuse the messages of some completions, and their own GET where ``alone``."""
    for name in ("messages", "retrieve") if alone else ("messages",):
        answer = getattr(world.store, name)

        def ask(id_, *query, answer=answer):
            if id_ in ids:
                raise ApiError(status, f"Completion {id_} not found" if status == 404 else "Cannot be answered.")
            return answer(id_, *query)

        monkeypatch.setattr(world.store, name, ask)


def findings(result):
    """Return the codes of what the run found."""
    return {finding.code for finding in result.sources[0].findings}


def rows(world, sql):
    """Ask the snapshot."""
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_messages_come_home_whole(world):
    """Every message of every completion is held as sent, in order, over several pages, in both destinations."""
    many = [{"role": "user", "content": f"turn {number}"} for number in range(250)]
    world.store.add(completion("long", NOW - HOUR), messages=many)
    ids = store(world, 30)
    result = world.run()
    assert (result.exit_code, result.sources[0].messages, result.sources[0].messages_waiting) == (0, 31, 0)
    assert held(world).keys() == {*ids, "long"}
    assert [one["content"] for one in held(world)["long"]] == [one["content"] for one in many]
    assert rows(world, "SELECT count(*) FROM messages") == [(2 * 30 + 250,)]
    turns = rows(
        world, "SELECT direction, role, content FROM conversations WHERE completion_id = 'c00007' ORDER BY position"
    )
    assert turns == [
        ("input", "system", "be brief"),
        ("input", "user", "ask 7"),
        ("answer", "assistant", "I am c00007"),
    ]
    prove(world.data)


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_a_second_run_fetches_only_what_is_new(world):
    """What was fetched is never fetched again, also where its completion has a new version."""
    ids = store(world, 10)
    world.run()
    before = calls(world)
    world.store.edit(ids[3], {"colour": "red"})
    world.store.add(completion("new", NOW - HOUR), messages=[{"role": "user", "content": "new"}])
    result = world.run()
    assert (result.sources[0].changed, result.sources[0].messages) == (1, 1)
    assert calls(world) == {**before, "new": 1}
    prove(world.data)


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_messages_switched_on_later(world):
    """Completions that were held before are given their messages too."""
    ids = store(world, 10)
    world.run(messages=False)
    assert not held(world)
    world.run()
    assert held(world).keys() == set(ids)
    assert world.run().sources[0].messages == 0


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_not_found_is_asked_again_while_fresh(world, monkeypatch):
    """404 for a fresh completion waits for a later run; an old one that its own GET knows has no messages."""
    world.store.add(completion("old", NOW - 3 * HOUR), messages=[])
    world.store.add(completion("fine", NOW - 2 * HOUR), messages=[])
    world.store.add(completion("fresh", NOW - 30), messages=[])
    with monkeypatch.context() as patch:
        refuse(world, patch, {"fresh", "old"})
        result = world.run()
    assert (result.sources[0].messages, result.sources[0].messages_waiting) == (2, 1)
    assert findings(result) == {"no-messages"}
    world.clock.advance(HOUR)
    assert world.run().sources[0].messages == 1
    assert held(world) == {"fresh": [], "fine": [], "old": None}


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_gone_between_list_and_messages(world, monkeypatch):
    """A completion that was listed just now waits although its messages are not found; the next run finds it gone."""
    ids = store(world, 30, ago=12 * HOUR)
    world.add(NOW - 60)
    refuse(world, monkeypatch, {ids[3]}, alone=True)
    result = world.run()
    assert (result.exit_code, result.sources[0].gone, result.sources[0].messages_waiting) == (0, 0, 1)
    assert findings(result) == {"messages-unanswered"}
    world.store.delete(ids[3])
    world.clock.advance(HOUR)
    result = world.run()
    assert (result.sources[0].gone, result.sources[0].messages_waiting, findings(result)) == (1, 0, set())
    assert rows(world, "SELECT id, gone_reason FROM completions WHERE gone_at IS NOT NULL") == [(ids[3], "deleted")]
    prove(world.data)


@pytest.mark.parametrize("routes", [("messages", "retrieve"), ("messages",)])
@pytest.mark.slow
def test_a_server_without_these_routes_makes_nothing_gone(world, routes):
    """Where "not found" is the answer for every completion nothing is gone or without messages: all of it waits."""
    ids = store(world, 40, ago=12 * HOUR)
    world.add(NOW - 2 * HOUR)
    world.server.app.faults = [Fault("404", times=0, route=route) for route in routes]
    for _ in range(3):
        before = len(world.server.requests)
        result = world.run()
        assert (result.exit_code, result.sources[0].gone, result.sources[0].changed) == (0, 0, 0)
        assert (result.sources[0].messages, result.sources[0].messages_waiting) == (0, 41)
        assert findings(result) == {"messages-unanswered"}
        assert len(world.server.requests) - before < 40  # it is not asked for each of them, every night
        world.clock.advance(HOUR)
    assert rows(world, "SELECT count(gone_at), count(*) FROM completions") == [(0, 41)]
    world.server.app.faults = []
    assert world.run().sources[0].messages == 41
    assert set(ids) < held(world).keys()


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize("status", [500, 400])
def test_a_completion_that_cannot_be_answered_holds_up_nothing(world, monkeypatch, status):
    """One whose messages fail every night waits with a finding; the others are fetched, and the sweep is walked."""
    ids = store(world, 30)
    with monkeypatch.context() as patch:
        refuse(world, patch, {ids[2]}, status=status)
        for night in range(2):
            result = world.run(asked=Asked(sweep=bool(night)), retry_attempts=1)
            assert (result.exit_code, result.sources[0].messages_waiting) == (0, 1)
            assert findings(result) == {"messages-unanswered"}
            world.clock.advance(HOUR)
    assert held(world).keys() == {*ids} - {ids[2]}
    assert result.sources[0].swept_through is not None
    assert world.run().sources[0].messages == 1


@pytest.mark.slow
def test_many_that_cannot_be_answered_hold_up_nothing(world, monkeypatch):
    """However many fail in a row, as long as the server answers for another one it is asked on."""
    ids = store(world, 60)
    refuse(world, monkeypatch, {*ids[:35]}, status=500)
    result = world.run(retry_attempts=1)
    assert (result.exit_code, result.sources[0].messages, result.sources[0].messages_waiting) == (0, 25, 35)


@pytest.mark.slow
def test_a_server_that_is_down_ends_the_messages(world):
    """Several failures in a row end it with 75, without a request for each; all that is due is counted as waiting."""
    store(world, 60)
    world.server.app.faults = [Fault("500", at=21, times=0, route="messages")]
    result = world.run(retry_attempts=1)
    (source,) = result.sources
    assert (source.exit_code, source.messages, source.messages_waiting) == (75, 20, 40)
    assert sum(request.route == "messages" for request in world.server.requests) < 45
    world.server.app.faults = []
    assert world.run().sources[0].messages == 40


def test_images_are_written_once(world):
    """An image of many messages is one blob; archive and tables hold a reference that names it."""
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": URI, "detail": None}}]
    store(world, 12, messages=[{"role": "user", "content": parts}])
    world.run()
    digest = hashlib.sha256(IMAGE).hexdigest()
    (blob,) = [path for path in world.folder.blobs.rglob("*") if path.is_file()]
    assert (blob.name, blob.read_bytes(), blob.stat().st_mode & 0o777) == (digest, IMAGE, 0o600)
    url = f"blob:image/png;sha256={digest}"
    assert held(world)["c00000"][0]["content_parts"][1]["image_url"]["url"] == url
    found = rows(world, "SELECT DISTINCT content_parts FROM messages")
    assert json.loads(found[0][0])[1]["image_url"]["url"] == url
    assert b"iVBOR" not in b"".join(path.read_bytes() for path in world.data.rglob("*") if path.is_file())


def test_inline_messages_need_no_call(tmp_path):
    """Where the list carries the input messages, they are in the table and nothing is asked for."""
    with World(tmp_path, Shape.named("ogx"), messages=True) as world:
        for number in range(5):
            told = [{"role": "user", "content": f"ask {number}"}]
            world.store.add(completion(f"c{number}", NOW - 100 + number), messages=told)
        result = world.run()
        assert (result.exit_code, calls(world)) == (0, {})
        texts = rows(world, "SELECT content FROM messages ORDER BY completion_id")
        assert texts == [(f"ask {number}",) for number in range(5)]


@pytest.mark.both_duckdbs
@pytest.mark.slow
@pytest.mark.parametrize("id_", ["a/b", "..", "../../chat", "q?x=1#y", "ü \N{SNOWMAN}", "%2e%2e"])
def test_an_id_cannot_leave_its_route(world, id_):
    """Whatever an id holds, it is asked for below the list and nowhere else."""
    world.store.add(completion(id_, NOW - 3 * HOUR), messages=[{"role": "user", "content": "x"}])
    world.run()
    base = world.store.shape.path
    assert all(request.path.startswith(f"{base}/") for request in world.server.requests if request.route != "list")
    assert {request.route for request in world.server.requests} <= {"list", "messages", "retrieve"}
    result = world.run()
    assert (len(held(world)) + result.sources[0].messages_waiting, result.sources[0].gone) == (1, 0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "count", [pytest.param(300, marks=pytest.mark.slow), pytest.param(3000, marks=pytest.mark.slow)]
)
def test_interrupted_ten_times_in_bad_weather(world, count):
    """Stopped again and again while a tenth is rate limited and a twentieth reset: all there, nothing fetched twice.

    Nothing beyond the calls in flight: a stop may cost those, and nothing else is ever asked for again.
    """
    ids = store(world, count)
    limited = Fault("429", times=0, rate=0.1, header="retry-after-ms", value="1", route="messages")
    world.server.app.faults = [limited, Fault("reset", times=0, rate=0.05, route="messages")]
    at_once = 4
    answered = itertools.count(1)
    for interruption in range(1, 11):
        stop = Stop()
        enough = interruption * count // 12

        def watch(request, stop=stop, enough=enough):
            if request.route == "messages" and not request.faults and next(answered) >= enough:
                stop.ask()

        world.server.app.on_request = watch
        result = export(world.config(), stop=stop)
        assert result.stopped
    world.server.app.on_request = None
    assert world.run().exit_code == 0
    assert held(world).keys() == set(ids)
    asked = calls(world)
    assert asked.keys() == set(ids)
    assert sum(asked.values()) - len(asked) <= 10 * at_once
    assert versions(world.archive()).keys() == set(ids)
    prove(world.data)


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_a_rate_limit_halves_what_is_in_flight(tmp_path):
    """After a 429 the requests in flight at the server halve within one round trip, then grow by one a round."""
    at, sent_before = 33, 33 + 7  # what is on its way when the limit is told

    def slow_while_the_limit_is_told(request):
        told = request.route == "messages" and at < request.route_number <= sent_before
        world.server.app.latency = 1 if told else 0.05

    with World(tmp_path, limit=100, messages=True, messages_at_once=8, retry_attempts=20) as world:
        store(world, 100)
        world.server.app.faults = [Fault("429", at=at, header="retry-after-ms", value="1", route="messages")]
        world.server.app.on_request = slow_while_the_limit_is_told
        assert world.run().sources[0].messages == 100
    flights = [request.in_flight for request in world.server.requests if request.route == "messages"]
    assert max(flights[:sent_before]) == 8
    after = flights[sent_before:]
    assert max(after[:4]) == 4
    for allowed, number in ((4, 4), (5, 5), (6, 6), (7, 7)):
        assert max(after[:number]) <= allowed
        after = after[number:]
    assert max(after) == 8
