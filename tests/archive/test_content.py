"""What is stored of a body: everything, or what an allow-list names; whatever the body is."""

import base64
import json

import pytest

from pipeline.archive.content import Content

PIXEL = base64.b64encode(b"pixel").decode()
BODY = {
    "id": "a",
    "created": 5,
    "seed": -(2**63),
    "tool_choice": "auto",
    "metadata": {"k": "v", "z": "w"},
    "usage": {"prompt_tokens": 3, "details": {"new_counter": 4, "text": "needle"}, "needle key": 5},
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "needle"}]},
            "message": {
                "role": "assistant",
                "content": "needle",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "needle"}}],
            },
        },
        "needle",
    ],
    "tools": [{"function": {"description": "needle"}}],
    "unknown": "needle",
}
NONE = Content("none")


def stored(content, body):
    return content.completion(json.dumps(body).encode()).body


def test_none_keeps_what_usage_needs_and_nothing_else():
    """No text outside the allow-list survives; counters, names and the seed do, exactly."""
    text = stored(NONE, BODY)
    assert b"needle" not in text
    kept = json.loads(text)
    assert (kept["seed"], kept["usage"]) == (-(2**63), {"prompt_tokens": 3, "details": {"new_counter": 4}})
    assert kept["choices"][0]["message"]["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f"}}]
    assert kept["choices"][1] == {}
    assert NONE.completion(text).body == text


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'"needle"', b'{"id":"a","content":"needle', b'{"\\ud800":1}', b"null"]
)
def test_none_keeps_no_damaged_body(body):
    """Of what is no whole object only what the list names is kept."""
    assert b"needle" not in NONE.completion(body).body


@pytest.mark.parametrize("value", ["needle" * 100, {"needle": "needle"}, ["needle"], 5])
@pytest.mark.parametrize("key", ["id", "model", "usage", "metadata", "tool_choice", "choices", "created"])
def test_none_keeps_no_value_of_another_kind(key, value):
    """A value that is not what the API puts there is withheld, whatever it holds."""
    text = stored(NONE, {**BODY, key: value})
    assert b"needleneedle" not in text
    assert b'"needle"' not in text or key == "metadata"


def test_full_is_byte_for_byte_but_for_unwanted_keys():
    """Without data URIs a body is kept as it came; of metadata only the keys that are wanted."""
    body = json.dumps(BODY).encode()
    assert Content().completion(body).body == body
    assert json.loads(Content("full", ("k",)).completion(body).body) == {**BODY, "metadata": {"k": "v"}}
    assert json.loads(Content("full", ()).completion(body).body) == {**BODY, "metadata": {}}


def test_data_uris_leave_references():
    """Each data URI goes to a blob; what is no canonical base64 stays."""
    body = f'{{"a":"data:image/png;base64,{PIXEL}","b":"data:x;base64,AB","c":"data:;base64,{PIXEL}"}}'.encode()
    found = Content().completion(body)
    assert len(found.blobs) == 2
    assert set(found.contents.values()) == {b"pixel"}
    assert json.loads(found.body)["b"] == "data:x;base64,AB"
    with pytest.raises(ValueError, match="withheld"):
        NONE.messages([body])


@pytest.mark.parametrize("types", ["image/png", "image/svg+xml;charset=utf-8", "application/x;a=b/c;d=e"])
@pytest.mark.parametrize("content", [b"pixel", b"\xff" * 30])
def test_slashes_written_as_escapes_are_slashes(types, content):
    r"""An encoder that writes / as \/ keeps no image in the body; from reference and blob the string is made again."""
    text = f"data:{types};base64,{base64.b64encode(content).decode()}"
    body = b'{"url":"%b","n":1}' % text.replace("/", r"\/").encode()
    found = Content().completion(body)
    (digest,) = found.blobs
    assert len(found.blobs) == 1
    reference = json.loads(found.body)["url"]
    assert reference == f"blob:{types};sha256={digest.hex()}"
    kept, _, _ = reference.removeprefix("blob:").rpartition(";sha256=")
    assert f"data:{kept};base64,{base64.b64encode(found.contents[digest]).decode()}" == json.loads(body)["url"]
    assert Content().same(found.body, Content(), json.dumps({"url": text, "n": 1}).encode())


@pytest.mark.parametrize("types", [r"image\u002fpng", r"image\\png", r"image\npng", r"image\"png"])
def test_other_escapes_are_left_alone(types):
    """What no encoder writes in a media type is kept as it came."""
    body = b'{"url":"data:%b;base64,%b"}' % (types.encode(), PIXEL.encode())
    assert Content().completion(body).body == body


def test_a_change_of_policy_makes_no_version():
    """Bodies are compared as far as both policies keep them; what differs there is a change."""
    body, other = json.dumps(BODY).encode(), json.dumps({**BODY, "metadata": {"k": "x"}}).encode()
    for content in (Content(), NONE, Content("full", ("k",)), Content("none", ("k", "z"))):
        for under in (Content(), NONE, Content("none", ("z", "k"))):
            held = under.completion(body).body
            assert content.same(held, under, body)
            assert not content.same(held, under, other)
