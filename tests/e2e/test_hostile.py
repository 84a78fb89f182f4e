"""Rows that no schema foresees: kept byte for byte, read as far as they can be read, and no neighbour harmed."""

from contextlib import closing

import pytest

import pipeline

from .place import NOW, Place, archived, in_parquet, in_snapshot


def row(name, *, created="CREATED", content='"hi"', more="", usage='{"prompt_tokens":1,"total_tokens":3}'):
    """Write a completion as text, so that anything may stand in it; its second comes when it is stored."""
    return (
        f'{{"id":"{name}","object":"chat.completion","created":{created},"model":"m",{more}"usage":{usage},'
        f'"choices":[{{"index":0,"message":{{"role":"assistant","content":{content}}},"finish_reason":"stop"}}]}}'
    ).encode("utf-8", "surrogatepass")


def calls(count):
    """Write a choice with many tool calls."""
    one = '{{"id":"call_{}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}'
    return ",".join(one.format(number) for number in range(count))


def deep(levels):
    """Write nested arrays."""
    return "[" * levels + "]" * levels


#: By id: the row, and the paths that are told in ``rejects``.
HOSTILE = {
    "huge": (row("huge", content='"' + "x" * 10_000_000 + '"'), set()),
    "calls": (row("calls").replace(b'"role"', b'"tool_calls":[' + calls(10_000).encode() + b'],"role"'), set()),
    "unicode": (row("unicode", content='"\\u0000 \U0001f600 \u202e\u2028 \uffff e\u0301 \\ud83d\\ude00"'), set()),
    "surrogate": (row("surrogate", content='"\\ud800"'), {"choices[0].message.content"}),
    "deep": (row("deep", more=f'"tools":{deep(2000)},'), {"tools"}),
    "deep-unknown": (row("deep-unknown", more=f'"new":{deep(2000)},'), {"new"}),
    "twice": (row("twice", more='"model":"other",'), set()),
    "seed": (row("seed", more=f'"seed":{2**70},'), {"seed"}),
    "tokens": (row("tokens", usage=f'{{"prompt_tokens":7,"total_tokens":{2**64}}}'), {"usage.total_tokens"}),
    "float": (row("float", more='"temperature":1e999,'), {"temperature"}),
    "created": (row("created", created='"yesterday"'), {"created"}),
    "nan": (row("nan", more='"temperature":NaN,'), {"temperature"}),
    "metadata": (row("metadata", more='"metadata":"none",'), {"metadata"}),
}


def sent(name):
    """Return the row as it is served."""
    second = NOW - 595 + 10 * list(HOSTILE).index(name)
    return HOSTILE[name][0].replace(b"CREATED", str(second).encode()), second


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """Serve every hostile row among healthy ones to two runs; hand out the place and both results."""
    with Place(tmp_path_factory.mktemp("hostile")) as place:
        for name in HOSTILE:
            body, second = sent(name)
            place.add(second - 5)
            place.store.add(body, created=second)
        yield place, place.run(limit=5), place.run(limit=5)


def told(place, sql, *values):
    with closing(pipeline.connect(place.data)) as connection:
        return connection.execute(sql, values).fetchall()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_row_is_kept_as_sent_and_told(fed, name):
    """The archive has its bytes, the table its usage, and rejects what fits no column."""
    place, _, _ = fed
    (body, _), paths = sent(name), HOSTILE[name][1]
    assert [kept["body"] for kept in archived(place.data) if kept["id"] == name] == [body]
    rejects = told(place, "SELECT path FROM rejects WHERE completion_id = ?", name)
    assert {path for (path,) in rejects} == paths
    tokens = told(place, "SELECT prompt_tokens FROM completions WHERE id = ?", name)
    assert tokens == [(7 if name == "tokens" else 1,)]


def test_the_run_says_so_and_the_next_one_has_nothing_to_do(fed):
    """Exit 3 with the count; rows that are read again unchanged are no news."""
    _, first, second = fed
    told_of = sum(bool(paths) for _, paths in HOSTILE.values())
    assert (first.exit_code, first.sources[0].rejected) == (3, told_of)
    assert (second.exit_code, second.sources[0].new, second.sources[0].changed) == (0, 0, 0)


def test_no_row_is_lost_for_another(fed):
    """Every row is in every destination, once."""
    place, _, _ = fed
    listed = sorted([*HOSTILE, *(f"id-{number}" for number in range(len(HOSTILE)))])
    assert in_parquet(place.data) == in_snapshot(place.data) == listed


def test_values_are_right(fed):
    """What fits a column is exact: 10 MB of text, 10,000 calls, every code point, the last of two keys."""
    place, _, _ = fed
    content = dict(told(place, "SELECT completion_id, content FROM choices"))
    assert content["huge"] == "x" * 10_000_000
    assert content["unicode"] == "\x00 \U0001f600 \u202e\u2028 \uffff e\u0301 \U0001f600"
    assert content["surrogate"] is None
    assert told(place, "SELECT count(*), max(\"index\") FROM tool_calls WHERE completion_id = 'calls'") == [
        (10_000, 9_999)
    ]
    assert told(place, "SELECT total_tokens, seed FROM completions WHERE id IN ('seed', 'tokens') ORDER BY id") == [
        (3, None),
        (None, None),
    ]


ODD = {
    "no id": b'{"created":1757999900,"model":"m","usage":{"total_tokens":3}}',
    "id is a number": b'{"id":5,"created":1757999900}',
    "id is a lone surrogate": b'{"id":"\\ud800","created":1757999900}',
    "created beyond 64 bits": b'{"id":"x","created":99999999999999999999}',
    "created is a fraction": b'{"id":"x","created":1757999900.5}',
    "no object": b"[1,2]",
    "null": b"null",
    "empty": b"{}",
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_row_is_kept_once(place, name):
    """Without id, without second, without anything: in the archive as sent, once, however often it is listed."""
    healthy = place.add(NOW - 600, 2) + place.add(NOW - 30, 2)
    place.store.add(ODD[name], created=NOW - 100)
    first, second = place.run(bare=True, limit=2), place.run(bare=True, limit=2)
    assert {first.sources[0].new, second.sources[0].new} == {5, 0}
    assert [kept["body"] for kept in archived(place.data) if kept["id"] not in healthy] == [ODD[name]]
    assert second.sources[0].complete


@pytest.mark.parametrize("body", [b'{"id":"x",}', b"{'id':1}", b'{"id":"x'])
def test_a_page_that_is_no_json_is_an_error_of_the_server(place, body):
    """What no JSON reader takes is not guessed at: asked again, then 75; pages before it are kept."""
    for number in range(6):
        place.add(NOW - 600 + number)
    place.store.add(body, created=NOW - 500)
    result = place.run(bare=True, limit=5, retry_attempts=2)
    assert (result.exit_code, result.sources[0].new) == (75, 5)
