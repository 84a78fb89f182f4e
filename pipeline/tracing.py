"""Spans of a run, where somebody has configured OpenTelemetry; the one door of it, and nothing where it is missing.

A run has stages, the first of them sources, these have requests. A request is told by its route: no query, which may
hold metadata, and no id of a completion. No header is added to it, also where httpx has been instrumented. What failed
is told by its kind alone, since what an error says may be a server's words.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import TYPE_CHECKING

from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

    Tell = Callable[[str, str | int], object]
    Warn = Callable[[str], None]

#: For all spans that are not exported yet when a run ends.
SECONDS = 5.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"


# -- spans ---------------------------------------------------------------------------------------------------------


def _tracer() -> Tracer | None:
    """Return a tracer; None where nobody has imported OpenTelemetry, for then nobody has configured it."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace.get_tracer("pipeline", __version__) if trace else None


@contextlib.contextmanager
def span(
    name: str, told: Mapping[str, str | int] | None = None, *, under: Context | None = None, is_request: bool = False
) -> Iterator[Tell]:
    """Make the block a span; what is handed out adds an attribute. ``under`` is its place, for another thread."""
    tracer = _tracer()
    if tracer is None:
        yield _tell_nobody
        return
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - there, and only where it is

    kind = SpanKind.CLIENT if is_request else SpanKind.INTERNAL
    with tracer.start_as_current_span(
        name, under, kind, told, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current.set_attribute
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def _tell_nobody(_: str, __: str | int) -> None:
    """Add no attribute."""


def here() -> Context | None:
    """Return the place of the spans that threads make for what is done here."""
    context = sys.modules.get("opentelemetry.context")
    return context.get_current() if context else None


@contextlib.contextmanager
def request(method: str, route: str, host: str, *, under: Context | None) -> Iterator[Tell]:
    """Make a request a span, which is told by the route that it takes below the base URL."""
    told = {"http.request.method": method, "url.template": route, "server.address": host}
    with span(f"{method} {route}", told, under=under, is_request=True) as tell, unheard():
        yield tell


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Let no instrumentation of httpx see what happens in the block: it would send its header, and tell the query."""
    context = sys.modules.get("opentelemetry.context")
    if context is None:
        yield
        return
    token = context.attach(context.set_value("suppress_instrumentation", True))
    try:
        yield
    finally:
        context.detach(token)


# -- export, as the environment says -------------------------------------------------------------------------------


@contextlib.contextmanager
def exported(environment: Mapping[str, str], warn: Warn) -> Iterator[None]:
    """Export the spans of the block by OTLP, as the ``OTEL_`` variables say; without them nothing is imported.

    Where something else has configured OpenTelemetry already, such as ``opentelemetry-instrument``, that is left alone.
    """
    if not _is_asked(environment) or "opentelemetry.sdk.trace" in sys.modules:
        yield
        return
    if problem := _unable(environment):
        warn(f"no spans are exported: {problem}")
        yield
        return
    logging.getLogger("opentelemetry").addHandler(_Once(warn))
    provider = _provider(environment)
    try:
        yield
    finally:
        ending = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(SECONDS)


def _is_asked(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environment.get(_EXPORTER) == "none":
        return False
    return any(environment.get(name) for name in (*_ENDPOINTS, _EXPORTER))


def _unable(environment: Mapping[str, str]) -> str | None:
    """Say why spans cannot be exported as the environment wants it."""
    if (wanted := environment.get(_EXPORTER) or "otlp") != "otlp":
        return f"{_EXPORTER} is {wanted}, and only otlp and none are known here"
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        return f"{_PROTOCOLS[1]} is {protocol}, and only http/protobuf is known here"
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401, PLC0415 - only where it is asked for
    except ImportError:
        return "OpenTelemetry is not installed: in the checkout, pip install '.[otel]'"
    return None


def _provider(environment: Mapping[str, str]) -> TracerProvider:
    """Set up what exports; endpoint, headers, sampler and resource are read from the environment by OpenTelemetry."""
    from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    is_named = environment.get("OTEL_SERVICE_NAME") or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if is_named else {"service.name": "pipeline"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


class _Once(logging.Handler):
    """Makes what OpenTelemetry has to complain of one warning in the run's own log; nothing of it may be a secret."""

    def __init__(self, warn: Warn) -> None:
        super().__init__(logging.WARNING)
        self._warn = warn
        self._is_told = False

    def emit(self, _: logging.LogRecord) -> None:
        """Warn the first time."""
        if not self._is_told:
            self._is_told = True
            self._warn("spans could not be exported: check the OTEL_ variables, and that somebody listens there")
