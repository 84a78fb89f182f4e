"""A page is split into rows byte for byte, whatever stands in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.page import BadPageError, Filters, decode, no_id
from pipeline.handoff import Row

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows = st.fixed_dictionaries({"id": st.text(min_size=1), "created": st.integers(-(2**63), 2**63 - 1), "more": values})


def page(*bodies, more="false"):
    """Write an envelope around rows."""
    return b'{"object":"list","data":[%b],"first_id":null,"last_id":null,"has_more":%b}' % (
        b",".join(bodies),
        more.encode(),
    )


@given(st.lists(rows, max_size=5), st.booleans(), st.booleans())
def test_any_rows_come_out_as_they_went_in(fields, has_more, is_ascii):
    """Order, id, second and bytes of every row."""
    bodies = [json.dumps(row, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass") for row in fields]
    got = decode(page(*bodies, more=str(has_more).lower()), server_time=5)
    assert [(row.body, row.created) for row in got.rows] == [
        (body, row["created"]) for body, row in zip(bodies, fields, strict=True)
    ]
    assert (got.has_more, got.server_time) == (has_more, 5)


@given(st.lists(rows, min_size=1, max_size=5))
def test_one_odd_row_changes_nothing_for_the_others(fields):
    """Rows beside one that the fast decoder refuses are the same as without it."""
    bodies = [json.dumps(row).encode() for row in fields]
    odd = b'{"id":"odd","created":7,"content":"\\ud800"}'
    alone = decode(page(*bodies), server_time=5).rows
    assert decode(page(*bodies, odd), server_time=5).rows == (*alone, Row("odd", 7, odd))


@pytest.mark.parametrize(
    ("body", "created"),
    [
        (b'{"created":7}', 7),
        (b'{"id":"","created":7}', 7),
        (b'{"id":null,"created":7}', 7),
        (b'{"id":5,"created":"7"}', None),
        (b'{"created":7.5}', None),
        (b'{"created":9223372036854775808}', None),
        (b'{"created":-9223372036854775808}', -(2**63)),
        (b"[]", None),
        (b"null", None),
        (b'"text"', None),
    ],
)
def test_a_row_without_an_id_is_named_by_its_content(body, created):
    """It is kept once, under a name that says why, with what can be made out of its second."""
    assert decode(page(body), server_time=5).rows == (Row(no_id(body), created, body),)


def test_of_two_keys_the_last_counts():
    """As JSON readers have it, in the fast decoder and in the tolerant one."""
    fast = b'{"id":"a","id":"b","created":1,"created":2}'
    tolerant = fast[:-1] + b',"content":"\\ud800"}'
    for body in (fast, tolerant):
        assert decode(page(body), server_time=5).rows == (Row("b", 2, body),)


@pytest.mark.parametrize("levels", [900, 1100, 100_000])
def test_nesting_is_no_obstacle(levels):
    """Deeper than any decoder goes, a row is kept with id and second."""
    body = b'{"id":"a","created":1,"deep":' + b"[" * levels + b"]" * levels + b"}"
    assert decode(page(body), server_time=5).rows == (Row("a", 1, body),)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (page(b'{"id":"a"}')[:-9], "not JSON"),
        (page(b'{"id":"a",}'), "not JSON"),
        (b"[]", "not JSON"),
        (b'{"error":{}}', "has no 'data'"),
        (b'{"data":5,"has_more":false}', "not JSON"),
    ],
)
def test_what_is_no_page_is_refused(body, said):
    """Cut short, a proxy's page, or something else: an error that says which."""
    with pytest.raises(BadPageError, match=said):
        decode(body, server_time=5)


def test_has_more_that_is_absent_or_odd_is_no():
    """The walk asks once more behind a full page anyway."""
    for body in (b'{"data":[]}', b'{"data":[],"has_more":null}', b'{"data":[],"has_more":"yes"}'):
        assert decode(body, server_time=5).has_more is False


@pytest.mark.parametrize(
    ("model", "metadata", "admitted"),
    [
        (None, {}, True),
        ("gpt-4o", {}, True),
        ("gpt-4o-2024-08-06", {}, True),
        ("gpt-5", {}, False),
        ("gpt-4", {}, False),
        (None, {"team": "search"}, True),
        (None, {"team": "ads"}, False),
        (None, {"other": "x"}, False),
        ("gpt-4o", {"team": "ads"}, False),
    ],
)
def test_filters_tell_whether_the_server_honoured_them(model, metadata, admitted):
    """An alias admits its dated snapshots; every pair must be there."""
    row = Row("a", 1, b'{"model":"gpt-4o-2024-08-06","metadata":{"team":"search","k":"v"}}')
    assert Filters(model, metadata).admit(row) is admitted


def test_a_model_does_not_admit_its_smaller_sister():
    """A server that ignores the filter lists both: only a number behind the name makes a snapshot of it."""
    row = Row("a", 1, b'{"model":"gpt-4o-mini-2024-07-18"}')
    assert not Filters("gpt-4o", {}).admit(row)
    assert Filters("gpt-4o-mini", {}).admit(row)


def test_a_row_that_cannot_be_judged_is_admitted():
    """A row of odd shape is no proof that the server ignored the filter."""
    assert Filters("m", {}).admit(Row("a", 1, b'{"model":5}'))
