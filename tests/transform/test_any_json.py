"""Whatever JSON arrives: one row, sound tables, readable JSON columns; and both ways of reading agree."""

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.transform import flatten, strict

from .bodies import completions
from .segments import segment

JSON_COLUMNS = {
    "completions": ["tools", "tool_choice", "response_format", "moderation", "extra"],
    "choices": ["function_call", "annotations", "audio", "logprobs", "content_filter_results", "extra"],
    "tool_calls": ["extra"],
}
THOROUGH = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module")
def connection():
    """Open one DuckDB for all examples."""
    with duckdb.connect() as opened:
        yield opened


def texts(batch):
    """Return every text that stands in a JSON column."""
    return [
        text
        for name, columns in JSON_COLUMNS.items()
        for column in columns
        for text in batch.tables[name][column].to_pylist()
        if text is not None
    ]


@pytest.mark.slow
@THOROUGH
@given(bodies=st.lists(completions(broken=True), max_size=4))
def test_any_body_is_one_row_in_sound_tables(bodies, connection):
    """No body raises or loses a row; tables are as declared; JSON columns are read by DuckDB and msgspec."""
    batch = flatten(segment(*bodies))
    assert batch.tables["completions"]["id"].to_pylist() == [f"c{place}" for place in range(len(bodies))]
    for name, table in batch.tables.items():
        assert table.schema.equals(schema.TABLES[name].columns)
        table.validate(full=True)
        assert all(field.nullable or not table[field.name].null_count for field in table.schema)
    found = pa.table({"text": pa.array(texts(batch), pa.string())})
    connection.register("found", found)
    valid = connection.execute("SELECT count(*) AS n FROM found WHERE json_valid(text)").fetchall()
    connection.unregister("found")
    assert valid == [(found.num_rows,)]
    for text in texts(batch):
        msgspec.json.decode(text)


@pytest.mark.slow
@THOROUGH
@given(body=completions(broken=False))
def test_both_ways_of_reading_agree(body):
    """A body that the strict decoder takes gives the same rows when an unknown key sends it to the lenient one."""
    assert strict.decode(body) is not None
    odd = body[:-1] + b',"odd":null}'
    assert strict.decode(odd) is None
    fast, slow = flatten(segment(body)), flatten(segment(odd))
    assert slow.tables["completions"]["extra"].to_pylist() == ['{"odd":null}']
    assert fast.rejected == slow.rejected == 0
    for name in fast.tables:
        differing = {"extra", "content_hash"} & {*schema.TABLES[name].columns.names}
        assert fast.tables[name].drop_columns([*differing]).equals(slow.tables[name].drop_columns([*differing])), name


@pytest.mark.slow
@THOROUGH
@given(body=completions(broken=False), damage=completions(broken=True))
def test_usage_that_parses_is_never_hidden(body, damage):
    """Beside any damage the counters of a sound usage stand in their columns."""
    broken = b'{"usage":{"prompt_tokens":3,"total_tokens":5},"choices":%b,"odd":%b}' % (damage, body)
    (found,) = flatten(segment(broken)).tables["completions"].to_pylist()
    assert (found["prompt_tokens"], found["total_tokens"]) == (3, 5)
