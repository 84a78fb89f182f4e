"""What a server may do to a walk: the right step, the right exit code, and nothing lost."""

import pytest

from tests.guards import ASKED_AGAIN, GIVEN_UP, GUARDS, NONE_SHOWN, OLDER, READ_ON, REFUSED, SMALLER, SMALLEST, STUCK

from .place import NOW, held

SETTINGS = {
    "bare": True,
    "limit": 10,
    "overlap": 300.0,
    "model": "m",
    "timeout": 1.0,
    "page_time": 1.0,
    "page_size": 500_000,
    "retry_attempts": 3,
}


def expected(place):
    """Return the ids that the source's filter admits."""
    return {id_ for id_ in place.store.visible_ids() if b'"model":"m"' in place.store.retrieve(id_)}


def assert_position_is_true(place, result):
    """Check that everything up to data_through is held."""
    through = result.sources[0].data_through
    missing = expected(place) - held(place.data)
    assert not through or all(place.store._rows[id_].created > through.timestamp() for id_ in missing)


#: What a run that a guard stopped says.
SAID = {STUCK: "the walk does not get on", NONE_SHOWN: "more completions follow, and shows none", SMALLEST: "page_size"}


def asked_since(place, number):
    """Return what ``after``, order and limit the requests behind ``number`` asked for."""
    return [tuple(sorted(request.query.items())) for request in place.server.requests[number:]]


def limits(asked):
    """Return the limits of some requests."""
    return [int(dict(request)["limit"]) for request in asked]


def assert_step(guard, asked, retries):
    """Check that the request behind the fault is the one that the table says."""
    fault = int(guard.fault.split(":")[0].split("-")[0])
    if guard.next_step == ASKED_AGAIN:
        assert (asked[fault] == asked[fault - 1], retries) == (True, 1)
    if guard.next_step == OLDER:
        assert (len(set(asked[:fault])) == fault, retries) == (True, 0)
    if guard.next_step == GIVEN_UP:
        assert asked[fault - 1 :] == [asked[fault - 1]] * SETTINGS["retry_attempts"]
    if guard.next_step == READ_ON:
        assert len(set(asked[: fault + 1])) == fault + 1
    if guard.next_step == SMALLER:
        assert (limits(asked[fault - 1 : fault + 1]), retries) == ([10, 2], 0)
        assert dict(asked[fault])["after"] == dict(asked[fault - 1])["after"]
    if guard.next_step == SMALLEST:
        assert limits(asked[fault - 1 :]) == [10, 2, 1]
    if guard.next_step == REFUSED:
        assert (len(asked), retries) == (fault, 0)


@pytest.fixture
def half(place):
    """Export one half of what is stored, and store the other."""
    for number in range(30):
        place.add(NOW - 1200 + 30 * number, count=1 + number % 2)
        place.add(NOW - 1200 + 30 * number, model="other")
    assert place.run(**SETTINGS).exit_code == 0
    place.clock.advance(1000)
    for number in range(20):
        place.add(NOW + 5 + 45 * number, count=2)
        place.add(NOW + 5 + 45 * number, model="other")
    return place


#: Statuses that the walk takes like one that the fast tests show.
ALIKE = {"405", "409", "422", "500", "502", "504", "529"}
#: What is waited out, again and again.
LONG = {"2-:stall", "2-:drip"}
CASES = [
    pytest.param(
        guard,
        id=guard.name,
        marks=pytest.mark.slow if guard.fault.split(":")[1] in ALIKE or guard.fault in LONG else (),
    )
    for guard in GUARDS
]


@pytest.mark.parametrize("guard", CASES)
def test_guard(half, guard):
    """The run ends as the table says, what is held stays, the position is true, and a healthy run completes it."""
    before = held(half.data)
    first = half.asked()
    result = half.run(guard.fault, **SETTINGS)
    assert any(request.faults for request in half.server.requests[first:]), "the fault did not act"
    assert (result.exit_code, result.sources[0].why_not is None) == (guard.exit_code, guard.exit_code == 0)
    assert SAID.get(guard.next_step, "") in (result.sources[0].why_not or "")
    assert_step(guard, asked_since(half, first), result.sources[0].retries)
    assert before <= held(half.data)
    assert_position_is_true(half, result)
    healthy = half.run(**SETTINGS)
    assert (healthy.exit_code, healthy.sources[0].complete) == (0, True)
    assert expected(half) <= held(half.data)
    assert_position_is_true(half, healthy)
