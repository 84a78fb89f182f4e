"""Log probabilities are rows of their own where they are asked for, and only there."""

import json

from pipeline.transform import flatten

from .segments import row, segment
from .test_flatten import body, check

TOKEN = {"token": "h\u00e9", "logprob": -0.25, "bytes": [104, 195, 169], "top_logprobs": [{"token": "a"}]}


def segment_with(*choices):
    return segment(row(body(choices=choices), id_="a", created=1))


def test_a_row_per_token():
    """Each token of content and refusal is a row, in its place; the JSON stays with the choice."""
    batch = flatten(
        segment_with(
            {"index": 3, "logprobs": {"content": [TOKEN, {"token": "b"}], "refusal": None}},
            {"logprobs": {"content": None, "refusal": [TOKEN]}},
            {"index": 0, "logprobs": None},
            {"index": 4},
        ),
        tokens=True,
    )
    check(batch)
    names = ["choice_index", "part", "index", "token", "logprob", "bytes", "top_logprobs"]
    texts = (json.dumps(TOKEN["bytes"]), json.dumps(TOKEN["top_logprobs"]))
    assert [tuple(found.values()) for found in batch.tables["logprobs"].select(names).to_pylist()] == [
        (3, "content", 0, "h\u00e9", -0.25, *texts),
        (3, "content", 1, "b", None, None, None),
        (1, "refusal", 0, "h\u00e9", -0.25, *texts),
    ]
    assert batch.tables["choices"]["logprobs"].null_count == 2


def test_only_where_asked_for():
    """The table is empty unless it is asked for."""
    batch = flatten(segment_with({"logprobs": {"content": [TOKEN]}}))
    check(batch)
    assert batch.tables["logprobs"].num_rows == 0


def test_of_another_shape():
    """What does not look like log probabilities gives no row and no reject, and stays with the choice."""
    batch = flatten(segment_with({"logprobs": [1]}, {"logprobs": {"content": [{"logprob": "low"}]}}), tokens=True)
    check(batch)
    assert batch.tables["logprobs"].num_rows == batch.rejected == 0
    assert batch.tables["choices"]["logprobs"].null_count == 0
