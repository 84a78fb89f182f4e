"""The text of metrics, read back by Prometheus' own parser."""

import re
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parsed

from pipeline.metrics import METRICS, Told, exposition, remembered
from pipeline.result import DestinationResult, RunResult, SourceResult
from pipeline.status import SourceStatus

ENDED = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)
DONE = SourceResult("prod", 0, True, None, new=7, changed=1, skipped=3, requests=9, retries=2, bytes=4000, seconds=1.25)
STANDS = SourceStatus("prod", ENDED, 90, True, None, ENDED, ENDED, 7, 1, 2_592_000, True, 2_500_000, None, 4, 0, True)


def ran(source=DONE, *destinations, stopped=False):
    return RunResult("id", ENDED, ENDED, (source,), destinations, stopped=stopped, load_seconds=0.5)


def told(**known):
    return Told(**{"source": "prod", "ended": ENDED.timestamp(), "code": 0, **known})


def read(text):
    """Return the values by name, and by the labels beside source where there are any."""
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "source")): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def test_everything_is_told():
    """A run that did all there was to do tells every metric, each a gauge with a help text."""
    run = ran(DONE, DestinationResult("parquet", 0), DestinationResult("duckdb", 78))
    text = exposition([told(run=run, status=STANDS, unpriced=0.125)])
    families = {family.name: family for family in parsed(text)}
    assert list(families) == [metric.name for metric in METRICS]
    assert {family.type for family in families.values()} == {"gauge"}
    assert all(family.documentation for family in families.values())
    values = read(text)
    assert values["pipeline_last_success_timestamp_seconds",] == ENDED.timestamp()
    assert values["pipeline_destination_exit_code", "duckdb"] == 78
    assert [values["pipeline_stage_seconds", stage] for stage in ("extract", "load", "publish")] == [1.25, 0.5, 0]
    assert values["pipeline_unpriced_ratio",] == 0.125
    assert (values["pipeline_lag_seconds",], values["pipeline_safety_seconds",]) == (90, 2_500_000)
    assert [values[f"pipeline_{name}",] for name in ("new_completions", "requests", "retries")] == [7, 9, 2]
    assert values["pipeline_messages_waiting",] == 4


def test_what_is_not_known_is_not_told():
    """A run that could not begin tells of its end alone, and keeps when it last succeeded."""
    assert read(exposition([told(code=75, remembered=1.5)])) == {
        ("pipeline_last_success_timestamp_seconds",): 1.5,
        ("pipeline_last_run_timestamp_seconds",): ENDED.timestamp(),
        ("pipeline_run_exit_code",): 75,
    }


def test_what_is_no_success():
    """A source that failed, was stopped or came to a limit does not count; one that is in doubt since long ago does."""
    failed = SourceResult("prod", 77, False, None)
    limited = SourceResult("prod", 0, False, None, why_not="max-pages (1) was reached", limited=True)
    assert told(run=ran(limited), remembered=5).last_success == 5
    in_doubt = SourceResult("prod", 0, False, None, why_not="possibly incomplete")
    assert told(run=ran(failed), remembered=5).last_success == 5
    assert told(run=ran(in_doubt, stopped=True), remembered=5).last_success == 5
    assert told(run=ran(failed)).last_success == 0
    assert told(run=ran(in_doubt), remembered=5).last_success == ENDED.timestamp()
    assert told(run=ran(DONE, stopped=True), remembered=5).last_success == ENDED.timestamp()


@given(st.dictionaries(st.text(), st.floats(min_value=0.001, max_value=1e12), max_size=4))
def test_any_name_of_a_source_comes_back(known):
    """Whatever a label holds, Prometheus and the next run read it as it was, and the success as it was."""
    text = exposition([told(source=name, remembered=value) for name, value in known.items()])
    samples = [sample for family in parsed(text) for sample in family.samples if sample.name == METRICS[0].name]
    assert {sample.labels["source"]: sample.value for sample in samples} == known
    assert remembered(text) == known


def test_the_readme_tells_of_every_metric():
    """Its table has a line for each, with the words that Prometheus shows."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(pipeline_\w+)`(?: \(`(\w+)`\))? \| (.+) \|$", text, re.MULTILINE)
    assert lines == [(metric.name, metric.label or "", metric.help) for metric in METRICS]


def test_another_file_tells_nothing():
    """What is no file of ours is no reason to fail."""
    assert remembered('pipeline_last_success_timestamp_seconds{source="prod"} soon\n\0') == {}
