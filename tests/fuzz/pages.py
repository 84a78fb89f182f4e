"""Hypothesis strategies for list pages as raw bytes: what the API would send, broken at every level."""

from hypothesis import strategies as st

from tests.transform.bodies import JSON, ODD, TEXT, completions

#: Few ids, so that pages repeat and change what other pages hold.
IDS = st.sampled_from(
    [
        *(b'"a"', b'"b"', b'"\\u0061"', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\\ud800"', b'""', b"7", b"null"),
        *(b'"no-id:"', b'"\xff"', b'"..\\/.."', b"[]", b'"%b"' % (b"i" * 10_000)),
    ]
)
CREATED = st.sampled_from(
    [
        *(b"1738960610", b"0", b"-1", b"-62135596801", b"253402300799", b"253402300800", b"-0", b"1.5", b"1e3"),
        *(b"9223372036854775807", b"9223372036854775808", b'"1738960610"', b"NaN", b"null", b"[]", b"9" * 400),
    ]
)
ODD_MEMBERS = st.sampled_from(
    [b'"id":"a"', b'"usage":{"prompt_tokens":3,"total_tokens":1e999}', b'"created":1', b'"\\ud800":{}', b'"new":"\xff"']
)


@st.composite
def rows(draw):
    """Draw a row: a completion with an id and a second of its own, possibly told twice, or something else."""
    if draw(st.integers(0, 5)) == 0:
        return draw(ODD | JSON | TEXT | st.sampled_from([b"{}", b"[{}]", b"null"]))
    body = draw(completions(broken=draw(st.booleans())))
    if not body.startswith(b"{"):
        return body
    inside = body[1:-1].strip()
    told = [b'"id":' + draw(IDS), b'"created": ' + draw(CREATED), *draw(st.lists(ODD_MEMBERS, max_size=2))]
    members = told + [inside] * bool(inside)
    return b"{" + b",".join(draw(st.permutations(members))) + b"}"


@st.composite
def pages(draw):
    """Draw a page: its envelope whole or odd, and its bytes possibly damaged."""
    array = b"[" + b" ,\n".join(draw(st.lists(rows(), max_size=4))) + b"]"
    body = draw(st.sampled_from(ENVELOPES)).replace(b"DATA", array)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at, length = draw(st.integers(0, len(body))), draw(st.integers(0, 3))
        body = body[:at] + draw(st.sampled_from(DAMAGE)) + body[at + length :]
    return body


ENVELOPES = (
    *[b'{"object":"list","data":DATA,"first_id":"a","last_id":"b","has_more":true}'] * 4,
    *(b'{"data":DATA}', b'{"data":DATA,"has_more":"false"}', b' {"has_more":1, "d\\u0061ta" : DATA }\n'),
    *(b'{"data":[1],"data":DATA,"has_more":false}', b'{"\xff":NaN,"\\ud800":[],"data":DATA,"has_more":true}'),
    *(b"DATA", b'{"data":{"data":DATA}}', b'{"data":null}', b"{}", b"", b'{"data":DATA,"has_more":true', b'"DATA"'),
)
DAMAGE = (b"", b'"', b"\\", b"{", b"]", b",", b"\xff", b"\x00", b"NaN", b"-", b"[[[[", b"\\ud800", b"\xef\xbb\xbf")
