"""Spans for OpenTelemetry: what a run did, nothing that must not leave, and no header to the API."""

import subprocess
import sys

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline import tracing
from pipeline.ping import Ping
from tests.cli.program import KEY, environment, pipeline, settings
from tests.e2e.place import NOW, Place
from tests.posted import Posted

#: What a filter asks for, which stands in the query of each request.
TEAM = "the-team-of-the-tests"
LIST, ONE = "GET chat/completions", "GET chat/completions/{id}/messages"


@pytest.fixture
def place(tmp_path):
    """Serve completions of one team."""
    with Place(tmp_path) as one:
        for number in range(12):
            one.add(NOW - 600 + 10 * number, metadata={"team": TEAM})
        yield one


@pytest.fixture
def spans(monkeypatch):
    """Keep the spans of this test in memory, without configuring the process for all others."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("tests"))
    yield exporter
    provider.shutdown()


def parents(finished):
    """Return by name the names of the spans above it."""
    names = {span.context.span_id: span.name for span in finished}
    return {(span.name, names.get(span.parent.span_id) if span.parent else None) for span in finished}


def nothing_private(text, place):
    """Check that neither a query, metadata, content, an id nor the key is in what was told."""
    assert TEAM not in text
    assert "metadata" not in text
    assert "after=" not in text
    assert KEY not in text
    assert "Say hello" not in text
    for id_ in place.store.visible_ids():
        assert id_ not in text


def no_trace_header(place):
    """Check that the server got no header of tracing."""
    for request in place.server.requests:
        assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in request.headers}


def test_a_run_is_a_tree(place, spans):
    """A run has stages, the first of them the sources, these their requests, those of other threads as well."""
    place.run(metadata={"team": TEAM}, messages=True, messages_at_once=4, limit=5)
    finished = spans.get_finished_spans()
    assert parents(finished) == {
        ("run", None),
        (LIST, "run"),  # the first look, before there is a data folder
        ("extract", "run"),
        ("source", "extract"),
        (LIST, "source"),
        (ONE, "source"),
        ("load", "run"),
        ("publish", "run"),
    }
    assert sum(span.name.startswith("GET") for span in finished) == len(place.server.requests)
    nothing_private("".join(span.to_json() for span in finished), place)
    no_trace_header(place)


def test_no_log_tells_of_a_request(place, caplog):
    """A process that logs everything, such as a scheduler, is told nothing of our URLs by httpx; of others it is."""
    with caplog.at_level("DEBUG"), Posted() as other:
        place.run(metadata={"team": TEAM}, messages=True, limit=5, bare=True)
        Ping(f"{other.url}/the-token", print).end(0, None, is_urgent=False)
        httpx.post(f"{other.url}/of-somebody-else")
    assert other.paths == ["/the-token", "/of-somebody-else"]
    assert "the-token" not in caplog.text
    nothing_private(caplog.text, place)
    assert "of-somebody-else" in caplog.text


def test_what_is_told_of_a_request(place, spans):
    """Its method, route, host and how it was answered; a run tells its id and how it ended."""
    result = place.run(bare=True)
    told = {span.name: dict(span.attributes) for span in spans.get_finished_spans()}
    assert told[LIST] == {
        "http.request.method": "GET",
        "url.template": "chat/completions",
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
    }
    assert told["run"] == {"pipeline.run_id": result.run_id, "pipeline.exit_code": 0}
    assert told["source"] == {"pipeline.source": "prod", "pipeline.exit_code": 0}


def test_what_fails_is_told_by_its_kind(place, spans):
    """A request that broke is a span in error with the kind of the error, and none of its words."""
    place.run("1-:hang-up", bare=True)
    failed = [span for span in spans.get_finished_spans() if not span.status.is_ok]
    assert {span.name for span in failed} == {LIST}
    assert all(span.attributes["error.type"] for span in failed)
    assert not any(span.events or span.status.description for span in failed)


def called(place, tmp_path):
    """Return a call of a run with a filter."""
    file = settings(tmp_path, place, limit=5)
    source, _, rest = file.read_text(encoding="utf-8").partition("[destinations]")
    file.write_text(f'{source}metadata = {{ team = "{TEAM}" }}\n[destinations]{rest}', encoding="utf-8")
    return ("run", "--config", file, "--data", place.data, "--log-format", "json")


@pytest.mark.slow
def test_spans_reach_a_collector(place, tmp_path):
    """The OTEL_ variables suffice: OTLP over HTTP, to the endpoint with the headers named there."""
    with Posted(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-team=ours"}
        done = pipeline(*called(place, tmp_path), **env)
    assert done.returncode == 0, done.stderr
    assert {post.line for post in collector.posts} == {"POST /v1/traces HTTP/1.1"}
    assert {post.headers["x-team"] for post in collector.posts} == {"ours"}
    told = [ExportTraceServiceRequest.FromString(post.body) for post in collector.posts]
    found = [one for part in told for of in part.resource_spans for scope in of.scope_spans for one in scope.spans]
    assert {one.name for one in found} == {"run", "extract", "source", LIST, "load", "publish"}
    resource = {one.key: one.value.string_value for one in told[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "pipeline"
    assert set(resource) <= {
        "service.name",
        "service.instance.id",
        *(f"telemetry.sdk.{x}" for x in ("name", "language", "version")),
    }
    assert all(request.query["metadata[team]"] == TEAM for request in place.server.requests)
    nothing_private("".join(map(str, told)), place)
    no_trace_header(place)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
            "spans could not be exported",
            marks=pytest.mark.slow,
        ),
        ({"OTEL_TRACES_EXPORTER": "console"}, "only otlp and none are known"),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "only http/protobuf is known",
            marks=pytest.mark.slow,
        ),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, None),
    ],
    ids=["nobody listens", "another exporter", "another protocol", "switched off"],
)
def test_spans_that_cannot_be_exported(place, tmp_path, env, why):
    """That is one warning in the run's own log, and the exit code is that of the run."""
    done = pipeline(*called(place, tmp_path), **env)
    warnings = [line for line in done.stderr.splitlines() if '"level": "info"' not in line]
    assert done.returncode == 0
    assert [line for line in warnings if why not in line] == [] if why else warnings == []
    assert len(warnings) == bool(why)


def in_a_process(before, place, tmp_path, after="", **env):
    """Run the command line in a process of its own, with something done before and after."""
    running = "from pipeline.cli.main import cli\ncode = cli.main(sys.argv[1:], standalone_mode=False)"
    code = f"import sys\n{before}\n{running}\n{after}\nsys.exit(code)"
    call = [sys.executable, "-c", code, *map(str, called(place, tmp_path))]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=60, env=environment(**env))


def test_nothing_is_imported_unasked(place, tmp_path):
    """A run without the variables does not know OpenTelemetry, though it is installed."""
    done = in_a_process("", place, tmp_path, "assert not [name for name in sys.modules if 'opentelemetry' in name]")
    assert done.returncode == 0, done.stderr


def test_without_the_package(place, tmp_path):
    """Where OpenTelemetry is missing a run is as ever; where it is asked for, one warning says what to install."""
    gone = "sys.modules['opentelemetry'] = None"
    done = in_a_process(gone, place, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install '.[otel]'") == 1


@pytest.mark.slow
def test_an_instrumented_httpx_sends_no_header(place, tmp_path):
    """Where httpx is instrumented, which adds a header and tells URLs, neither API nor ping gets one; others do."""
    before = """
import httpx
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(kept))
HTTPXClientInstrumentor().instrument()
"""
    with Posted() as other:
        after = f"httpx.post('{other.url}/x')\nprint('\\n'.join(span.to_json() for span in kept.get_finished_spans()))"
        done = in_a_process(before, place, tmp_path, after, PIPELINE_PING_URL=f"{other.url}/the-token")
    assert done.returncode == 0, done.stderr
    assert other.paths == ["/the-token/start", "/the-token", "/x"]
    assert ["traceparent" in post.headers for post in other.posts] == [False, False, True]
    assert '"name": "source"' in done.stdout
    assert TEAM not in done.stdout
    assert "the-token" not in done.stdout
    no_trace_header(place)
