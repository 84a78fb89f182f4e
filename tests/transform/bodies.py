"""Hypothesis strategies for bodies as JSON text: completions as the API would send them, and broken ones."""

import json

from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)


def encoded(values):
    """Make JSON text of values, escaped or not."""
    ascii_or_not = st.booleans()
    return st.builds(lambda value, plain: json.dumps(value, ensure_ascii=plain).encode(), values, ascii_or_not)


TEXT = encoded(st.text(max_size=8))
INTEGER = encoded(INT64)
NUMBER = encoded(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000))
NULL = st.just(b"null")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
JSON = encoded(PLAIN)
ODD = JSON | st.sampled_from(
    [
        *(b'"\\ud800"', b'{"\\udfff":1}', b'["\\ud83d\\ude00"]', b'"\\u0000"', b'"\xff\xfe"', b'["\xed\xa0\x80"]'),
        *(b"NaN", b"[-Infinity]", b"1e999", b"-0.0", b"13.0", b"true", b"9223372036854775808", b"9" * 5000, b"[ ]"),
        *(b"[" * 400 + b"]" * 400, b"[" * 700 + b"]" * 700, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a":1,"a":[]}'),
    ]
)
ODD_KEYS = st.sampled_from([b'"new"', b'"extra"', b'"\\ud800"', b'""', b'"\xff"', b'"a.b[0]"', b'"\\u0000"', b'"id"'])


@st.composite
def objects(draw, fields, *, broken):
    """Draw the text of an object with some of the keys; a broken one has odd values, unknown and repeated keys."""
    keys = draw(st.lists(st.sampled_from(sorted(fields)), unique=not broken, max_size=len(fields)))
    nullable = {key: fields[key] | NULL for key in fields if broken or key != "message"}
    pairs = [(json.dumps(key).encode(), draw((fields | nullable)[key])) for key in keys]
    if broken:
        odd_keys = ODD_KEYS | st.sampled_from([json.dumps(key).encode() for key in fields])
        pairs += draw(st.lists(st.tuples(odd_keys, ODD), max_size=3))
        pairs = draw(st.permutations(pairs))
    return b"{" + b",".join(b"%b: %b" % pair for pair in pairs) + b"}"


def arrays(items):
    """Make the text of an array."""
    return st.lists(items, max_size=3).map(lambda texts: b"[%b]" % b", ".join(texts))


def details(*names, broken):
    """Make the text of one side's usage details."""
    return objects({f"{name}_tokens": INTEGER for name in names}, broken=broken)


def completions(*, broken):
    """Make bodies; those that are not broken have every value in place, yet any key but the required may be absent."""
    usage = {
        **dict.fromkeys(["prompt_tokens", "completion_tokens", "total_tokens"], INTEGER),
        "prompt_tokens_details": details("cached", "cache_write", "audio", "text", "image", broken=broken),
        "completion_tokens_details": details("reasoning", "audio", "accepted_prediction", broken=broken),
    }
    call = {
        **dict.fromkeys(["id", "type"], TEXT),
        "function": objects({"name": TEXT, "arguments": TEXT}, broken=broken),
        "custom": objects({"name": TEXT, "input": TEXT}, broken=broken),
    }
    message = {
        **dict.fromkeys(["role", "content", "refusal"], TEXT),
        **dict.fromkeys(["function_call", "annotations", "audio"], JSON),
        "tool_calls": arrays(objects(call, broken=broken)),
    }
    choice = {
        "index": INTEGER,
        "finish_reason": TEXT,
        "message": objects(message, broken=broken),
        **dict.fromkeys(["logprobs", "content_filter_results"], JSON),
    }
    optional = {
        **dict.fromkeys(["object", "model", "request_id", "service_tier", "system_fingerprint", "input_user"], TEXT),
        **dict.fromkeys(["temperature", "top_p", "presence_penalty", "frequency_penalty"], NUMBER),
        **dict.fromkeys(["tools", "tool_choice", "response_format", "moderation"], JSON),
        "seed": INTEGER,
        "usage": objects(usage, broken=broken),
        "metadata": encoded(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)),
    }
    choices = arrays(objects(choice, broken=broken))
    if broken:
        required = {"id": TEXT, "created": INTEGER, "choices": choices}
        return objects(optional | required, broken=True) | ODD
    head = b'{"id":"c0","created":1738960610,"choices":%b,%b'
    rest = objects(optional, broken=False).filter(lambda text: text != b"{}")
    return st.builds(lambda array, text: head % (array, text[1:]), choices, rest)
