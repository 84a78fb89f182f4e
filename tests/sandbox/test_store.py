"""The model of the server, without a socket."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sandbox.clock import Clock
from pipeline.sandbox.listing import ApiError, Listing, Query
from pipeline.sandbox.shape import SHAPES, Shape
from pipeline.sandbox.store import Store

from .asking import NOW, stocked

SECONDS = st.lists(st.integers(min_value=NOW, max_value=NOW + 8), max_size=30)


def shown(listing):
    """Return the ids of a page."""
    return [json.loads(row)["id"] for row in listing.rows]


def walked(store, **asked):
    """Walk by the last id and return all ids."""
    seen, page = [], Listing(has_more=True)
    while page.has_more:
        page = store.list(Query(after=page.last_id, **asked))
        seen += shown(page)
    return seen


@given(SECONDS, st.integers(min_value=1, max_value=7), st.sampled_from(["asc", "desc"]))
def test_exact_walk_equals_the_sorted_truth(seconds, limit, order):
    """With an exact cursor a walk at any limit shows all rows once, by (created, id)."""
    store = stocked(seconds, shape=Shape(cursor="exact"))
    truth = sorted(((second, f"r{number}") for number, second in enumerate(seconds)), reverse=order == "desc")
    assert walked(store, limit=limit, order=order) == [name for _, name in truth]


@given(SECONDS, st.integers(min_value=1, max_value=7), st.sampled_from(["asc", "desc"]))
def test_second_page_is_strictly_beyond_the_second(seconds, limit, order):
    """With a second cursor ``after`` shows the rows of other seconds beyond it, in order, and none of its own."""
    store = stocked(seconds)
    created = {f"r{number}": second for number, second in enumerate(seconds)}
    for anchor, second in created.items():
        page = [created[name] for name in shown(store.list(Query(anchor, limit, order)))]
        beyond = [other for other in seconds if (other > second if order == "asc" else other < second)]
        assert page == sorted(beyond, reverse=order == "desc")[:limit]


@given(SECONDS, st.integers(min_value=1, max_value=7))
def test_has_more_is_true_exactly_while_rows_are_left(seconds, limit):
    """``has_more`` is false exactly on the last page, a full one too."""
    assert stocked(seconds).list(Query(limit=limit)).has_more == (len(seconds) > limit)


def test_ties_are_shuffled_by_seed():
    """Rows of one second move from request to request, the same way for the same seed."""
    first, again, other = (
        [shown(store.list()) for _ in range(4)] for store in (stocked([NOW] * 8, seed=seed) for seed in (1, 1, 2))
    )
    assert first == again != other
    assert len({tuple(page) for page in first}) > 1


def test_stable_without_shuffle():
    """The switch keeps rows of one second in place."""
    store = stocked([NOW] * 8, shape=Shape(shuffle=False))
    assert shown(store.list()) == shown(store.list())


def test_row_surfaces_when_its_time_comes():
    """Until ``visible_at`` a row is neither listed nor retrieved, afterwards it stands in ``created`` order."""
    store = stocked([NOW - 5, NOW - 1])
    store.add({"id": "late", "created": NOW - 3}, visible_at=NOW + 4)
    with pytest.raises(ApiError) as refused:
        store.retrieve("late")
    assert refused.value.status == 404
    assert store.visible_ids() == {"r0", "r1"}
    store.clock.advance(4)
    assert json.loads(store.retrieve("late"))["created"] == NOW - 3
    assert shown(store.list(Query(order="asc"))) == ["r0", "late", "r1"]


def test_delete_that_comes_too_early_misses():
    """Deleting a row that is not visible yet answers 404, and the row surfaces all the same."""
    store = Store(clock=Clock(NOW))
    store.add({"id": "late", "created": NOW}, visible_at=NOW + 4)
    with pytest.raises(ApiError):
        store.delete("late")
    store.clock.advance(4)
    assert store.visible_ids() == {"late"}


def test_deleted_row_is_gone_and_may_come_back():
    """A deleted row is in no answer; adding its id again lists it again."""
    store = stocked([NOW - 2, NOW - 1])
    store.delete("r0")
    assert store.visible_ids() == {"r1"}
    assert shown(store.list()) == ["r1"]
    store.add({"id": "r0", "created": NOW - 2})
    assert shown(store.list()) == ["r1", "r0"]


def test_known_id_is_replaced():
    """Adding a known id replaces its body and its place, whether the old row was visible or not."""
    store = stocked([NOW - 9])
    store.add({"id": "late", "created": 1}, visible_at=NOW + 1)
    store.add({"id": "late", "created": 2}, visible_at=NOW + 2)
    store.add({"id": "r0", "created": NOW})
    store.clock.advance(2)
    assert {name: json.loads(body)["created"] for name, body in store.bodies().items()} == {"late": 2, "r0": NOW}
    assert len(store) == len(store.list().rows) == 2


def test_edit_replaces_metadata_only():
    """An edit replaces the metadata as a whole and leaves everything else."""
    store = stocked([NOW])
    before = json.loads(store.retrieve("r0"))
    store.edit("r0", {"new": "pair"})
    assert json.loads(store.retrieve("r0")) == {**before, "metadata": {"new": "pair"}}
    assert shown(store.list(Query(metadata={"new": "pair"}))) == ["r0"]
    assert shown(store.list(Query(metadata={"n": "0"}))) == []


def test_filters_are_joined_by_and():
    """All metadata pairs and the model must match, as exact texts."""
    store = Store(clock=Clock(NOW))
    store.add({"id": "a", "created": 1, "model": "m1", "metadata": {"x": "1", "y": "1"}})
    store.add({"id": "b", "created": 2, "model": "m1", "metadata": {"x": "1"}})
    store.add({"id": "c", "created": 3, "model": "m2", "metadata": None})
    assert shown(store.list(Query(metadata={"x": "1"}))) == ["b", "a"]
    assert shown(store.list(Query(metadata={"x": "1", "y": "1"}))) == ["a"]
    assert shown(store.list(Query(model="m2"))) == ["c"]
    assert shown(store.list(Query(model="m"))) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"h","created":7,"a":1,"a":2}',
        b'{"id":"h","created":7,"t":"\\ud800"}',
        b'{"id":"h","created":7,"n":' + b"9" * 5000 + b"}",
        b'{"id":"h","created":7,"d":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe",
        b"not JSON",
        b'[{"id":"h"}]',
        b"null",
        b"-1e999",
        b"{}",
        b'{"id":{},"created":[],"model":[],"metadata":[],"choices":{},"usage":[]}',
    ],
    ids=[
        *("duplicate keys", "lone surrogate", "huge integer", "deep", "no UTF-8", "no JSON"),
        *("array", "null", "number", "empty object", "arrays for objects"),
    ],
)
def test_hostile_bytes_are_served_as_they_are(body):
    """Bytes come out byte for byte, in the page and alone, even where Python cannot read them."""
    store = Store(clock=Clock(NOW))
    name = store.add(body, created=7)
    page = store.list()
    assert page.rows == (body,)
    assert b"[" + body + b"]" in page.encode()
    assert store.retrieve(name) == body


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_that_are_no_objects_stay_what_they_are(shape):
    """A row that is no object can be listed, named, edited without effect and deleted, in every shape."""
    store = Store(clock=Clock(NOW), shape=Shape.named(shape))
    for body in (b"[]", b"7", b"null", b'"text"'):
        name = store.add(body)
        assert store.edit(name, {"a": "b"}) == store.retrieve(name) == body
        assert store.list().rows == (body,)
        store.delete(name)
        assert store.visible_ids() == set()


@pytest.mark.parametrize("cursor", ["second", "exact"])
def test_created_of_any_kind_has_its_place(cursor):
    """Negative and future seconds stand where they belong, one that is no integer at the store's now; anchors all."""
    store = Store(clock=Clock(NOW), shape=Shape(cursor=cursor))
    for name, created in [("old", b"-5"), ("text", b'"7"'), ("float", b"1.5"), ("far", b"9" * 30)]:
        store.add(b'{"id":"%b","created":%b}' % (name.encode(), created))
    order = shown(store.list(Query(order="asc")))
    assert (order[0], set(order[1:3]), order[3]) == ("old", {"text", "float"}, "far")
    assert set(shown(store.list(Query(after="old", order="asc")))) == {"text", "float", "far"}
    assert shown(store.list(Query(after="far"))).pop() == "old"


def test_lone_surrogate_in_a_dict_is_escaped():
    """A body with a lone surrogate is served escaped, since UTF-8 has none."""
    store = Store(clock=Clock(NOW))
    store.add({"id": "s", "created": 1, "text": "é\ud800"})
    assert b"\\ud800" in store.retrieve("s")


def test_row_without_id():
    """A body without an id is listed, and the page's ids are null."""
    store = Store(clock=Clock(NOW))
    store.add({"created": 1, "choices": []})
    assert store.list().rows == (b'{"created":1,"choices":[]}',)
    assert store.list().last_id is None


@pytest.mark.parametrize(
    ("how", "outcome"), [("404", 404), ("400", 400), ("empty", Listing()), ("page1", ["r2", "r1", "r0"])]
)
@pytest.mark.parametrize("anchor", ["deleted", "late", "never"])
def test_vanished_anchor(how, outcome, anchor):
    """An ``after`` that names no visible row is answered in the way the shape says."""
    store = stocked([NOW - 3, NOW - 2, NOW - 1], shape=Shape(vanished=how))
    store.add({"id": "deleted", "created": NOW})
    store.delete("deleted")
    store.add({"id": "late", "created": NOW}, visible_at=NOW + 1)
    query = Query(after=anchor)
    if isinstance(outcome, int):
        with pytest.raises(ApiError) as refused:
            store.list(query)
        assert refused.value.status == outcome
    elif isinstance(outcome, Listing):
        assert store.list(query) == outcome
    else:
        assert shown(store.list(query)) == outcome
