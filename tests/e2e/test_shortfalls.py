"""A list that shows less than it should: the run says so, and claims no more than it was shown."""

import httpx

from .place import KEY, NOW, held

HOUR = 3600
SETTINGS = {"bare": True, "limit": 10, "overlap": 0.0}


def findings(result):
    return {finding.code for finding in result.sources[0].findings}


def test_a_source_that_has_become_empty(place):
    """Said by every run that finds it so; what is held stays. A source that never held anything is no news."""
    assert findings(place.run(**SETTINGS)) == set()
    ids = place.add(NOW - 60, 3)
    assert place.run(overlap=float(HOUR), bare=True).sources[0].new == 3
    for id_ in ids:
        place.store.delete(id_)
    for _ in range(2):
        result = place.run(**SETTINGS)
        assert (result.exit_code, findings(result)) == (0, {"empty"})
    assert held(place.data) == set(ids)


def test_an_old_page_shown_over_and_over_moves_nothing(place):
    """Where the newest row shown is older than what is held, the position stays, and what came meanwhile is found."""
    first = [place.add(NOW - 600 + 20 * number)[0] for number in range(20)]
    before = place.run(**SETTINGS).sources[0].data_through
    place.clock.advance(HOUR)
    new = place.add(NOW + 60, 3)
    httpx.get(
        f"{place.server.base_url}/chat/completions",
        params={"order": "desc", "after": first[1]},
        headers={"authorization": f"Bearer {KEY}"},
        trust_env=False,
    ).raise_for_status()
    stuck = place.run("1-:stuck", **SETTINGS)
    assert findings(stuck) == {"early-end"}
    assert stuck.sources[0].data_through == before == place.status().data_through
    healthy = place.run(**SETTINGS)
    assert (healthy.exit_code, healthy.sources[0].new, findings(healthy)) == (0, 3, set())
    assert healthy.sources[0].data_through > before
    assert set(new) <= held(place.data)


def test_deleting_the_newest_completions_is_told(place):
    """The list ends before rows that are held: said, and nothing newer is claimed."""
    ids = [place.add(NOW - 600 + 20 * number)[0] for number in range(20)]
    before = place.run(**SETTINGS).sources[0].data_through
    for id_ in ids[10:]:
        place.store.delete(id_)
    place.clock.advance(HOUR)
    result = place.run(**SETTINGS)
    assert (result.exit_code, findings(result), result.sources[0].data_through) == (0, {"early-end"}, before)


def test_a_night_that_brings_far_less_than_usual(place):
    """After a few nights that are alike, one that brings next to nothing is told, and one like them is not."""
    told = []
    for new in (30, 30, 30, 30, 30, 1, 30):
        place.clock.advance(HOUR)
        for number in range(new):
            place.add(int(place.clock()) - 1000 + number)
        told.append(findings(place.run(bare=True, limit=100)))
    assert told == [set()] * 5 + [{"less-than-usual"}] + [set()]
