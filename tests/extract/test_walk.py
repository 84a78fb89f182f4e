"""The walk against a store that behaves as the recordings show the real service, without sockets."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import IncompleteError
from pipeline.extract.walk import Walk
from pipeline.sandbox.shape import SHAPES, Shape
from tests.extract.served import NOW, Served

groups = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), max_size=25)
#: Every server that has a list, and each way in which it could answer a lost row or bound its pages.
NAMES = [name for name in SHAPES if name != "post-only"]
shapes = st.builds(
    Shape.named,
    st.sampled_from(NAMES),
    vanished=st.sampled_from(["404", "400", "empty", "page1"]),
    max_limit=st.sampled_from([10, 20, 100]),
)


def one_walk(served, limit, _random, meddle=lambda _: None):
    """Walk from the oldest completion to the newest."""
    return served.walk(limit=limit, meddle=meddle)


def both_ends(served, limit, random, meddle=lambda _: None):
    """Walk from both ends, answers in any order."""
    return served.meet(limit=limit, meddle=meddle, turn=lambda: random.random() < 0.5)


@pytest.mark.parametrize("way", [one_walk, both_ends])
@given(groups, shapes, st.integers(1, 12), st.randoms(use_true_random=False))
def test_a_walk_brings_home_every_row_or_names_the_second_it_doubts(way, gaps, shape, limit, random):
    """Whatever the groups, the limit and the cursor: all rows are kept, or the second is named."""
    served, second = Served(shape, random.randint(0, 5)), NOW - 5000
    for gap, count in gaps:
        second += gap
        served.add(second, count)
    walk = way(served, min(limit, shape.max_limit), random)
    missing = {created for id_, created in created_of(served).items() if id_ not in served.kept}
    assert missing <= set(walk.doubtful)
    assert walk.completed == NOW
    assert not (walk.doubtful and shape.cursor == "exact" and shape.max_limit > 10)


def created_of(served: Served) -> dict[str, int]:
    """Return what the server lists now."""
    return {id_: served.store._rows[id_].created for id_ in served.store.visible_ids()}


@pytest.mark.parametrize("way", [one_walk, both_ends])
@given(groups, shapes, st.integers(2, 9), st.randoms(use_true_random=False))
def test_rows_that_stay_are_kept_while_others_come_and_go(way, gaps, shape, limit, random):
    """Rows arriving late and rows deleted during the walk, anchors among them, never cost another row."""
    served, second = Served(shape), NOW - 5000
    for gap, count in gaps:
        second += gap
        served.add(second, count)
    stayed = set(created_of(served))

    def meddle(_: int) -> None:
        here = list(created_of(served))
        if random.random() < 0.3 and here:
            gone = random.choice(here)
            served.store.delete(gone)
            stayed.discard(gone)
        if random.random() < 0.3:
            served.add(random.randint(NOW - 5000, NOW))

    try:
        walk = way(served, limit, random, meddle)
    except IncompleteError:
        return  # it said so: nothing beyond `completed` is claimed
    crowded = {second for second, count in Counter(created_of(served).values()).items() if count >= 10}
    missing = {served.store._rows[id_].created for id_ in stayed if id_ not in served.kept}
    assert missing <= set(walk.doubtful) | crowded


@pytest.mark.parametrize("way", [one_walk, both_ends])
@given(groups, st.integers(1, 12), st.data(), st.randoms(use_true_random=False))
def test_rows_of_others_hide_none_of_ours(way, gaps, limit, data, random):
    """Where rows of other owners are filtered after the limit, pages come short or empty, and none of ours is lost."""
    served, second = Served(Shape.named("ogx")), NOW - 5000
    for gap, count in gaps:
        second += gap
        served.add(second, count, foreign=data.draw(st.integers(0, count)))
    way(served, limit, random)
    assert served.kept.keys() == served.store.visible_ids()


def newest_first(served, limit):
    """Walk from both ends where only the newest end answers."""
    return served.meet(limit=limit, turn=lambda: True)


@pytest.mark.parametrize("way", [Served.walk, newest_first])
@pytest.mark.parametrize("size", [99, 100, 101, 150])
@pytest.mark.parametrize("where", ["middle", "end", "only"])
def test_a_second_that_no_page_can_show_is_named(way, size, where):
    """A group beyond the server's largest page comes home by reading back, and is named; a smaller one is not."""
    served = Served(Shape(cursor="second"))
    if where != "only":
        served.add(NOW - 1000, 3)
    served.add(NOW - 900, size)
    if where == "middle":
        served.add(NOW - 800, 3)
    walk = way(served, limit=100)
    missing = served.store.visible_ids() - served.kept.keys()
    assert walk.doubtful == ([NOW - 900] if size >= 100 else [])
    assert not missing or size > 100


def test_an_exact_cursor_shows_any_group_whole():
    """Where more of the same second follows its last row, the chain of pages shows it complete."""
    served = Served(Shape(cursor="exact"))
    for second in range(3):
        served.add(NOW - 100 + second, 250)
    walk = served.walk(limit=100)
    assert served.kept.keys() == served.store.visible_ids()
    assert walk.doubtful == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vanished", ["404", "400", "empty", "page1"])
def test_a_vanished_anchor_sends_the_walk_to_an_older_one(vanished, name):
    """Deleted anchors never strand a walk, whatever the server answers to them."""
    served = Served(Shape.named(name, vanished=vanished))
    for second in range(300):
        served.add(NOW - 1000 + second)
    served.walk(limit=20)
    anchors = served.anchors(NOW - 800)
    for anchor in anchors[:3]:
        served.store.delete(anchor.id)
    late = served.add(NOW - 790)
    served.requests.clear()
    walk = served.walk(anchors[:3] + anchors[10:12], limit=20)
    assert set(late) <= served.kept.keys()
    assert walk.start == anchors[10].created
    assert walk.completed == NOW


@pytest.mark.parametrize("name", NAMES)
def test_an_emptied_source_is_read_from_the_beginning(name):
    """Where nothing proves any anchor the list is asked without one: never 'nothing new' by mistake."""
    served = Served(Shape.named(name, vanished="empty"))
    for second in range(10):
        served.add(NOW - 100 + second)
    served.walk(limit=5)
    for id_ in list(served.store.visible_ids()):
        served.store.delete(id_)
    new = served.add(NOW - 99)
    walk = served.walk(served.anchors(NOW - 95), limit=5)
    assert (walk.start, served.requests[-1].after) == (None, None)
    assert set(new) <= served.kept.keys()


def test_a_full_last_page_is_not_believed():
    """has_more false on a full page is asked about once more."""
    served = Served(Shape(cursor="exact"))
    for second in range(4):
        served.add(NOW - 100 + second)
    served.walk(limit=4)
    assert len(served.requests) == 2


@pytest.mark.parametrize("limit", [1, 3])
def test_rows_from_the_future_do_not_move_what_is_complete(limit):
    """Nothing beyond the server's own time is claimed, by a page in the middle no more than by the last one."""
    served = Served()
    served.add(NOW - 10)
    for second in range(6):
        served.add(NOW + 5000 + second)
    assert served.walk(limit=limit).completed == NOW


def test_a_second_that_a_page_cuts_is_read_whole():
    """Behind a page that ends in the middle of a second the walk goes on from the second before, and misses nothing."""
    served = Served(Shape(cursor="second", shuffle=False))
    (before,) = served.add(NOW - 100)
    served.add(NOW - 90, 3)
    served.add(NOW - 80)
    walk = served.walk(limit=2)
    assert served.requests[1].after == before
    assert (served.kept.keys(), walk.doubtful) == (served.store.visible_ids(), [])


def test_a_second_that_a_page_cuts_is_not_claimed():
    """After a page that ends in the middle of a second nothing is complete but what lies before that second."""
    served = Served()
    served.add(NOW - 100)
    served.add(NOW - 90, 3)
    walk = Walk([], limit=2)
    requests = walk.requests()
    requests.send(served.answer(next(requests)))
    assert walk.completed == NOW - 91


def test_a_walk_with_a_goal_reads_its_last_second_whole():
    """It ends at the first row beyond that second, not at the first row of it: the page may have cut it."""
    served = Served()
    wanted = {*served.add(NOW - 100), *served.add(NOW - 50, 3)}
    served.add(NOW - 40, 5)
    walk = Walk([], limit=3, until=NOW - 50)
    requests = walk.requests()
    request = next(requests)
    with suppress(StopIteration):
        while True:
            request = requests.send(served.answer(request))
    assert wanted <= served.kept.keys()
    assert walk.completed >= NOW - 50
