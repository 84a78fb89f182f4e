"""The splitter: any JSON text comes apart into its own bytes, and nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.jsontext import NotJSONError, depth, elements, members, text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)
LAYOUTS = st.fixed_dictionaries({"indent": st.sampled_from([None, 0, 2]), "ensure_ascii": st.booleans()})


@given(st.dictionaries(st.text(), VALUES), LAYOUTS)
def test_members_are_the_objects_own_text(value, layout):
    """An object, however laid out, gives back each key and value in order."""
    raw = json.dumps(value, **layout).encode()
    again = [(text(key), json.loads(item)) for key, item in members(raw)]
    assert repr(again) == repr(list(value.items()))


@given(st.lists(VALUES), LAYOUTS)
def test_elements_are_the_arrays_own_text(value, layout):
    """An array, however laid out, gives back each element in order."""
    raw = json.dumps(value, **layout).encode()
    assert repr([json.loads(item) for item in elements(raw)]) == repr(value)
    assert all(item in raw for item in elements(raw))


@given(st.binary(max_size=30) | st.text(alphabet='{}[]",:01.eE-+tfnu\\ \n', max_size=12).map(str.encode))
def test_only_json_is_split(raw):
    """Text is split exactly when Python's own decoder reads it as an array; otherwise it is NotJSONError."""
    try:
        expected = json.loads(raw.decode("utf-8", "replace"))
    except ValueError:
        expected = None
    if isinstance(expected, list):
        assert len(elements(raw)) == len(expected)
    else:
        with pytest.raises(NotJSONError):
            elements(raw)


def test_what_decoders_refuse_passes_through():
    """Duplicate keys, lone surrogates, NaN, infinities, foreign bytes and huge integers keep their bytes."""
    values = [b'"\\ud800"', b"NaN", b"-Infinity", b"Infinity", b'"\xff\xfe"', b"9" * 5000, b"1e999", b"-0"]
    raw = b"{" + b",".join(b' "k" : ' + value for value in values) + b"\n}\t"
    assert list(members(raw)) == [(b'"k"', value) for value in values]


@pytest.mark.parametrize(
    ("raw", "position"),
    [
        (b"", 0),
        (b"  ", 2),
        (b"[", 1),
        (b"[1", 2),
        (b"[1,", 3),
        (b"[1,]", 3),
        (b"[,1]", 1),
        (b"[1 2]", 2),
        (b"[1]x", 3),
        (b"[1] [2]", 4),
        (b"[01]", 2),
        (b"[1.]", 2),
        (b"[+1]", 1),
        (b"[.5]", 1),
        (b"[-]", 1),
        (b"[nan]", 1),
        (b"[tru]", 1),
        (b"[truex]", 5),
        (b'["a]', 1),
        (b'["\\x"]', 1),
        (b'["\\u12g4"]', 1),
        (b'["\n"]', 1),
        (b"[{]", 2),
        (b'[{"a"}]', 2),
        (b'[{"a":}]', 6),
        (b'[{"a":1,}]', 8),
        (b"[{1:2}]", 2),
        (b"[[1}]", 3),
        (b"[1]]", 3),
        (b"\xef\xbb\xbf[1]", 0),
        (b"[1]\x00", 3),
        (b"{}", 0),
        (b"[1,//\n2]", 3),
    ],
)
def test_broken_text_is_refused_with_its_place(raw, position):
    """What breaks the grammar is refused, and the error says at which byte."""
    with pytest.raises(NotJSONError) as caught:
        elements(raw)
    assert caught.value.position == position
    assert str(position) in str(caught.value)


def test_members_before_the_damage_are_yielded():
    """Of an object that is cut short, the whole members are still to be had."""
    parts = members(b'{"usage":{"n":1},"choices":[{"mess')
    assert next(parts) == (b'"usage"', b'{"n":1}')
    with pytest.raises(NotJSONError, match="at byte 29"):
        next(parts)


@pytest.mark.slow
def test_depth_has_no_limit():
    """A million levels are split like one."""
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    assert elements(b"[1," + deep + b"]") == [b"1", deep]
    nested = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert list(members(b'{"b":' + nested + b"}")) == [(b'"b"', nested)]


@pytest.mark.parametrize(
    ("raw", "levels"), [(b"1", 0), (b"[]", 1), (b'{"a[[":[{}],"b":[[[1]]],"\\"[":"]"}', 4), (b"[" * 9 + b"]" * 9, 9)]
)
def test_depth_counts_containers_only(raw, levels):
    """Depth is that of arrays and objects; brackets inside strings are text."""
    assert depth(raw) == levels


@pytest.mark.parametrize("unit", [b"x", b"\\n", b"\\u00e9", b"\\ud800", b"\xc3\xa9"])
def test_large_strings_take_linear_time_and_little_memory(unit):
    """A string of 50 MB is one step of the matcher, escapes or not: within the suite's time limit by far."""
    string = b'"' + unit * (50_000_000 // len(unit)) + b'"'
    assert elements(b"[" + string + b"]") == [string]


def test_unclosed_strings_do_not_take_quadratic_time():
    """Text of many strings that never close is refused by the first of them, at once."""
    with pytest.raises(NotJSONError):
        elements(b'["' + b"\\n" * 1_000_000)
    with pytest.raises(NotJSONError):
        elements(b'["a"' * 200_000)


@given(st.text())
def test_text_is_what_was_encoded(value):
    """A string comes back as it was, escaped or not."""
    assert text(json.dumps(value).encode()) == value
    assert text(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    "raw",
    [b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b'"a', b"12", b"null", b"", b'"a" ', b'"\n"'],
)
def test_text_refuses_what_is_no_unicode_string(raw):
    """Lone surrogates, bytes that are not UTF-8 and anything but one string are refused."""
    with pytest.raises(NotJSONError):
        text(raw)


def test_text_joins_surrogate_pairs():
    """A pair of escapes is one character, and an escaped backslash before u is no escape."""
    assert text(b'"\\ud83d\\ude00 \\\\ud800"') == "\N{GRINNING FACE} \\ud800"
