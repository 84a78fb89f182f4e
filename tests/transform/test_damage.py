"""What does not fit: NULL in its column, a row in rejects, its text in extra where readers can take it; usage stays."""

import json

import duckdb
import pytest

from pipeline.transform import flatten

from .segments import segment

HEAD = b'"id":"c0","created":1738960610'
USAGE = b'"usage":{"prompt_tokens":13}'


def flattened(body):
    """Return the batch of one body, its completion and its rejects as pairs."""
    batch = flatten(segment(body))
    (completion,) = batch.tables["completions"].to_pylist()
    rejects = [(found["path"], found["reason"]) for found in batch.tables["rejects"].to_pylist()]
    assert batch.rejected == bool(rejects)
    return batch, completion, rejects


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("model", "5", "expected Unicode string, got integer"),
        ("model", "{}", "expected Unicode string, got object"),
        ("object", "false", "expected Unicode string, got boolean"),
        ("seed", "9223372036854775808", "expected 64-bit integer, got integer"),
        ("seed", "-9223372036854775809", "expected 64-bit integer, got integer"),
        ("seed", "13.0", "expected 64-bit integer, got number"),
        ("seed", "1e2", "expected 64-bit integer, got number"),
        ("seed", "true", "expected 64-bit integer, got boolean"),
        ("seed", '"1"', "expected 64-bit integer, got string"),
        ("top_p", '"1"', "expected 64-bit number, got string"),
        ("top_p", "[]", "expected 64-bit number, got array"),
        ("metadata", "[]", "expected object of Unicode strings, got array"),
        ("metadata", '{"a":1}', "expected object of Unicode strings, got object"),
        ("metadata", '{"a":null}', "expected object of Unicode strings, got object"),
        ("usage", "5", "expected object, got integer"),
        ("usage", "[]", "expected object, got array"),
        ("choices", "{}", "expected array, got object"),
        ("choices", '"x"', "expected array, got string"),
    ],
)
def test_a_value_that_does_not_fit_is_kept_in_extra(key, value, reason):
    """The column is NULL, the reject names path and kinds, and the text stands in extra under its own key."""
    body = b'{%b,"choices":[],"%b":%b}' % (HEAD, key.encode(), value.encode())
    batch, completion, rejects = flattened(body)
    assert completion.get(key) is None
    assert rejects == [(key, reason)]
    assert completion["extra"] == f'{{"{key}":{value}}}'
    assert batch.tables["choices"].num_rows == 0


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("model", b'"\\ud800"', "expected Unicode string, got string"),
        ("model", b'"\xff"', "expected Unicode string, got string"),
        ("top_p", b"NaN", "expected 64-bit number, got NaN"),
        ("top_p", b"-Infinity", "expected 64-bit number, got -Infinity"),
        ("top_p", b"1e999", "expected 64-bit number, got number"),
        ("seed", b"9" * 5000, "expected 64-bit integer, got integer"),
        ("metadata", b'{"a":"\\udc00"}', "expected object of Unicode strings, got object"),
        ("metadata", b'{"\\udc00":"a"}', "expected object of Unicode strings, got object"),
        ("usage", b"NaN", "expected object, got NaN"),
    ],
)
def test_text_that_readers_refuse_is_in_the_archive_only(key, value, reason):
    """Where the text itself is no JSON for msgspec or DuckDB, extra does not hold it, and the reject says so."""
    _, completion, rejects = flattened(b'{%b,"choices":[],"%b":%b}' % (HEAD, key.encode(), value))
    assert (completion[key] if key != "usage" else None, completion["extra"]) == (None, None)
    assert rejects == [(key, reason)]


@pytest.mark.parametrize("key", ["tools", "response_format", "moderation", "tool_choice", "some_new_key"])
@pytest.mark.parametrize(
    "value",
    [
        b'["\\ud800"]',
        b'{"\\ud800":1}',
        b"[NaN]",
        b'["\xff"]',
        b"[1e999]",
        b"[" * 501 + b"]" * 501,
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_a_json_column_holds_what_every_reader_takes(key, value):
    """Other text is NULL with a reject, whether a column or extra should hold it."""
    _, completion, rejects = flattened(b'{%b,"choices":[],%b,"%b":%b}' % (HEAD, USAGE, key.encode(), value))
    assert completion.get(key) is None
    assert completion["extra"] is None
    assert completion["prompt_tokens"] == 13
    assert [path for path, _ in rejects] == [key]
    assert rejects[0][1].startswith("JSON ")


@pytest.mark.parametrize(
    "value", ["[" * 500 + "]" * 500, "123456789012345678901234567890", '{"a":1,"a": [2]}', '"\\u0000"']
)
def test_unusual_json_is_kept_as_it_came(value):
    """Deep nesting within reason, huge integers, duplicate keys and NUL stay untouched, in columns and in extra."""
    _, completion, rejects = flattened(
        b'{%b,"choices":[],"tools":%b,"new":%b}' % (HEAD, value.encode(), value.encode())
    )
    assert (completion["tools"], completion["extra"], rejects) == (value, f'{{"new":{value}}}', [])


def test_unknown_keys_survive_where_they_stood():
    """New keys at every level are in the extra of their row, nested as they came, and are no rejects."""
    body = (
        b"""{%b, "new": 18446744073709551616,
      "usage": {"prompt_tokens": 1, "n": 1, "prompt_tokens_details": {"cached_tokens": 2, "n": [1, 2]}},
      "choices": [{"index": 0, "n": "\\u00e9", "message": {"content": "x", "n": {}, "tool_calls": [
        {"id": "t", "n": null, "function": {"name": "f", "arguments": "{}", "n": 1.0}, "custom": {"n": 2}}]}}],
      "extra": "mine"}"""
        % HEAD
    )
    batch, completion, rejects = flattened(body)
    assert rejects == []
    assert (completion["prompt_tokens"], completion["prompt_cached_tokens"]) == (1, 2)
    assert json.loads(completion["extra"]) == {
        "new": 18446744073709551616,
        "extra": "mine",
        "usage": {"n": 1, "prompt_tokens_details": {"n": [1, 2]}},
    }
    assert "18446744073709551616" in completion["extra"]
    (choice,) = batch.tables["choices"].to_pylist()
    assert (choice["content"], choice["extra"]) == ("x", '{"n":"\\u00e9","message":{"n":{}}}')
    (call,) = batch.tables["tool_calls"].to_pylist()
    assert (call["name"], call["arguments"]) == ("f", "{}")
    assert call["extra"] == '{"n":null,"function":{"n":1.0},"custom":{"n":2}}'


@pytest.mark.parametrize("value", ['"mine"', '""', "null", "{}"])
def test_a_key_named_extra_is_an_unknown_key(value):
    """An ``extra`` that the API itself sends is kept like any other unknown key, at every level."""
    text = b'"extra":%b' % value.encode()
    body = b'{%b,%b,"choices":[{%b,"message":{"tool_calls":[{%b}]}}]}' % (HEAD, text, text, text)
    batch, _, rejects = flattened(body)
    assert rejects == []
    for name in ("completions", "choices", "tool_calls"):
        assert batch.tables[name]["extra"].to_pylist() == [f'{{"extra":{value}}}']


def test_damage_deep_inside_names_its_path():
    """A bad value in one tool call costs that value only."""
    body = (
        b"""{%b, "usage": {"prompt_tokens": 1, "completion_tokens": "2", "prompt_tokens_details": {"audio_tokens": []}},
      "choices": [5, {"index": "0", "message": {"content": "kept", "tool_calls": [
        {}, null, {"function": {"name": "f", "arguments": {"a": 1}}}]}}]}"""
        % HEAD
    )
    batch, completion, rejects = flattened(body)
    assert completion["prompt_tokens"] == 1
    assert json.loads(completion["extra"]) == {
        "usage": {"completion_tokens": "2", "prompt_tokens_details": {"audio_tokens": []}}
    }
    assert rejects == [
        ("usage.completion_tokens", "expected 64-bit integer, got string"),
        ("usage.prompt_tokens_details.audio_tokens", "expected 64-bit integer, got array"),
        ("choices[0]", "expected object, got integer"),
        ("choices[1].index", "expected 64-bit integer, got string"),
        ("choices[1].message.tool_calls[1]", "expected object, got null"),
        ("choices[1].message.tool_calls[2].function.arguments", "expected Unicode string, got object"),
    ]
    choices = batch.tables["choices"].select(["index", "content", "extra"]).to_pylist()
    assert [tuple(choice.values()) for choice in choices] == [(None, None, '{"":5}'), (None, "kept", '{"index":"0"}')]
    calls = batch.tables["tool_calls"].select(["choice_index", "index", "name", "extra"]).to_pylist()
    assert [tuple(call.values()) for call in calls] == [
        (1, 0, None, None),
        (1, 1, None, '{"":null}'),
        (1, 2, "f", '{"function":{"arguments":{"a": 1}}}'),
    ]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"{}", ["id", "created", "choices"]),
        (b'{"id":"","created":1738960610,"choices":[]}', ["id"]),
        (b'{"id":5,"created":"x","choices":null}', ["id", "created", "choices"]),
        (b"null", ["$"]),
        (b"[1]", ["$"]),
        (b"", ["$"]),
        (b"<html>", ["$"]),
        (b'{"id":"c0","created":1738960610,"choices":[]', ["$"]),
        (b'{"\\ud800":1,"id":"c0","created":1738960610,"choices":[]}', ["\\ud800"]),
    ],
)
def test_a_body_that_is_no_completion_is_still_a_row(body, paths):
    """Id and created come from the segment; whatever the body is, it is one row, with rejects that say where."""
    _, completion, rejects = flattened(body)
    assert (completion["id"], completion["created_unix"]) == ("c0", 1738960610)
    assert [path for path, _ in rejects][: len(paths)] == paths


def test_usage_is_read_from_a_body_cut_short():
    """What stood before the cut is in its columns."""
    _, completion, rejects = flattened(b'{%b,%b,"choices":[{"message":{"conte' % (HEAD, USAGE))
    assert completion["prompt_tokens"] == 13
    assert ("choices", "missing") in rejects


def test_null_and_absent_are_null():
    """Optional keys that are null or missing are NULL and no rejects; an empty list of choices is none either."""
    names = [*("object", "model", "usage", "metadata", "tools", "seed", "top_p", "moderation", "input_user")]
    nulls = json.dumps(dict.fromkeys(names)).encode()[1:-1]
    for body in (b'{%b,%b,"choices":[{"message":null}]}' % (HEAD, nulls), b'{%b,"choices":[]}' % HEAD):
        _, completion, rejects = flattened(body)
        assert rejects == []
        assert {completion.get(name) for name in names} == {None}


@pytest.mark.parametrize("usage", [b"", b',"usage":null', b',"usage":{}', b',"usage":{"prompt_tokens":null}'])
def test_tokens_that_nobody_told_are_not_none_at_all(usage):
    """A counter that is absent is NULL and not 0: sums must not take it for a free request."""
    _, completion, _ = flattened(b'{%b,"choices":[]%b}' % (HEAD, usage))
    assert [completion.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")] == [None] * 3


def test_of_equal_keys_the_last_one_counts():
    """Duplicate keys are read as every decoder reads them, also where the body is read value by value."""
    for more in (b"", b',"new":1'):
        body = b'{%b,"model":"a","choices":[],"model":"b","metadata":{"k":"1","k":"2"}%b}' % (HEAD, more)
        _, completion, rejects = flattened(body)
        assert (completion["model"], completion["metadata"], rejects) == ("b", [("k", "2")], [])


@pytest.mark.parametrize("odd", [b"", b',"odd":"\\ud800"'])
def test_large_rows_are_rows_like_others(odd):
    """10 MB of content and 10,000 tool calls arrive whole, read strictly or value by value."""
    content = ("\N{GRINNING FACE} \u00e9\n" * 1_700_000).encode()
    call = b'{"id":"t","type":"function","function":{"name":"f","arguments":"{\\"a\\": 1}"}}'
    body = b'{%b,%b,"choices":[{"message":{"content":"%b","tool_calls":[%b]}}]%b}' % (
        *(HEAD, USAGE, content.replace(b"\n", b"\\n"), b",".join([call] * 10_000), odd),
    )
    assert len(body) > 10_000_000
    batch, completion, _ = flattened(body)
    assert completion["prompt_tokens"] == 13
    assert batch.tables["choices"]["content"][0].as_py() == content.decode()
    calls = batch.tables["tool_calls"]
    assert calls["index"].to_pylist() == list(range(10_000))
    assert set(calls["arguments"].to_pylist()) == {'{"a": 1}'}


def test_extra_is_json_for_duckdb():
    """Odd keys, control characters and nested remains make an extra that DuckDB reads."""
    body = b'{%b,"choices":[],"a\\u0000\\"":1,"":{"\\u00e9":[null]},"\xc3\xa9":-0.0,"usage":{"x\\ty":"z"}}' % HEAD
    _, completion, rejects = flattened(body)
    assert rejects == []
    with duckdb.connect() as connection:
        ((valid, keys),) = connection.execute(
            "SELECT json_valid($1) AS valid, len(json_keys($1)) AS keys", [completion["extra"]]
        ).fetchall()
    assert (valid, keys) == (True, 4)
