"""What a run tells Prometheus, in the text format of node_exporter's textfile collector; pure.

Every value is a gauge: of the last run, or of how a source stands after it. Each has the label ``source``, so that the
files of two data folders on one machine do not collide; values of the whole run are repeated for each of its sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.result import RunResult, SourceResult
    from pipeline.status import SourceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of one source when a run ends; None is not known, and is not told."""

    source: str
    ended: float
    """Unix seconds."""
    code: int
    """How the program ends."""
    run: RunResult | None = None
    status: SourceStatus | None = None
    unpriced: float | None = None
    """Share of its requests in the month that the data end in that have no price."""
    remembered: float | None = None
    """When it last succeeded, as far as was known before this run; Unix seconds."""

    @property
    def result(self) -> SourceResult | None:
        """What the run did with it; None where the run did not come that far."""
        return next((one for one in self.run.sources if one.source == self.source), None) if self.run else None

    @property
    def last_success(self) -> float:
        """When a run last did with it all there was to do; 0 for never, so that an alarm of its age rings."""
        now, run = self.result, self.run
        if now and run and now.exit_code == 0 and (now.complete or not (run.stopped or now.limited)):
            return self.ended
        return self.remembered or 0

    @property
    def destinations(self) -> dict[str, float]:
        """The exit code of each destination."""
        return {one.destination: one.exit_code for one in self.run.destinations} if self.run else {}

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage."""
        if not self.run or not self.result:
            return {}
        return {"extract": self.result.seconds, "load": self.run.load_seconds, "publish": self.run.publish_seconds}


#: What a metric is of one source: a value, or one by label; None is not told.
Values = Callable[[Told], float | Mapping[str, float] | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the README's table."""

    name: str
    help: str
    values: Values
    label: str | None = None
    """What tells values of one source apart."""


def _of_result(name: str) -> Values:
    return lambda told: getattr(told.result, name, None)


def _of_status(name: str) -> Values:
    return lambda told: getattr(told.status, name, None)


def _waiting(told: Told) -> float | None:
    stands = told.status or told.result
    return stands.messages_waiting if stands else None


def _complete(told: Told) -> float | None:
    stands = told.result or told.status
    return float(stands.complete) if stands else None


def _data_through(told: Told) -> float | None:
    through = told.status.data_through if told.status else None
    return through.timestamp() if through else None


METRICS = (
    Metric(
        "pipeline_last_success_timestamp_seconds",
        "When a run last did with the source all there was to do; kept by runs that fail, 0 for never.",
        lambda told: told.last_success,
    ),
    Metric("pipeline_last_run_timestamp_seconds", "When the last run ended.", lambda told: told.ended),
    Metric("pipeline_run_exit_code", "Exit code of the whole run.", lambda told: told.code),
    Metric("pipeline_source_exit_code", "Exit code for this source alone.", _of_result("exit_code")),
    Metric(
        "pipeline_destination_exit_code",
        "Exit code for one destination, of the whole run.",
        lambda told: told.destinations,
        "destination",
    ),
    Metric("pipeline_complete", "1 where nothing up to data_through is in doubt, else 0.", _complete),
    Metric("pipeline_data_through_timestamp_seconds", "Up to when completions have been read.", _data_through),
    Metric("pipeline_lag_seconds", "Time from data_through to the end of the run.", _of_status("age_seconds")),
    Metric(
        "pipeline_safety_seconds",
        "Time from the end of the run until something unseen could expire; absent while the horizon is not known.",
        _of_status("safety_seconds"),
    ),
    Metric("pipeline_new_completions", "Completions that were new in the last run.", _of_result("new")),
    Metric("pipeline_changed_completions", "Completions that were changed in the last run.", _of_result("changed")),
    Metric("pipeline_skipped_completions", "Completions that were held already.", _of_result("skipped")),
    Metric(
        "pipeline_rejected_completions",
        "Completions of the last run with a value that fits no column.",
        _of_result("rejected"),
    ),
    Metric("pipeline_messages_waiting", "Completions whose input messages a later run fetches.", _waiting),
    Metric("pipeline_requests", "Requests of the last run, those tried again among them.", _of_result("requests")),
    Metric("pipeline_retries", "Requests of the last run that were tried again.", _of_result("retries")),
    Metric("pipeline_received_bytes", "Bytes of the answers of the last run, decompressed.", _of_result("bytes")),
    Metric(
        "pipeline_stage_seconds",
        "Duration of a stage of the last run; load and publish are of the whole run.",
        lambda told: told.stages,
        "stage",
    ),
    Metric(
        "pipeline_unpriced_ratio",
        "Share of the requests that have no price, in the month that the data end in.",
        lambda told: told.unpriced,
    ),
)


def exposition(told: Sequence[Told]) -> str:
    """Return the text of the file: every metric with its help, its type and a line per source."""
    return "".join(line for metric in METRICS for line in _lines(metric, told))


def _lines(metric: Metric, told: Iterable[Told]) -> list[str]:
    samples = [line for one in told for line in _samples(metric, one)]
    return [f"# HELP {metric.name} {metric.help}\n", f"# TYPE {metric.name} gauge\n", *samples] if samples else []


def _samples(metric: Metric, told: Told) -> list[str]:
    values = metric.values(told)
    by_label = values if isinstance(values, Mapping) else {"": values}
    return [
        f"{metric.name}{{{_labels(metric, told.source, label)}}} {_number(value)}\n"
        for label, value in by_label.items()
        if value is not None
    ]


def _labels(metric: Metric, source: str, label: str) -> str:
    more = f',{metric.label}="{escaped(label)}"' if metric.label else ""
    return f'source="{escaped(source)}"{more}'


def _number(value: float) -> str:
    """Write a number so that it is read back as it was."""
    return str(int(value)) if value == int(value) else repr(float(value))


_ESCAPES = {"\\": "\\\\", "\n": "\\n", '"': '\\"'}
_UNESCAPES = {then: before for before, then in _ESCAPES.items()}


def escaped(label: str) -> str:
    """Write the value of a label as the format wants it."""
    return re.sub(r'[\\\n"]', lambda found: _ESCAPES[found[0]], label)


_SUCCESS = re.compile(rf'^{METRICS[0].name}{{source="((?:[^"\\\n]|\\.)*)"}} (\S+)$', re.MULTILINE)


def remembered(text: str) -> dict[str, float]:
    """Read back from a former file when each source last succeeded; what is no such file tells of none."""
    found = {}
    for name, value in _SUCCESS.findall(text):
        try:
            found[re.sub(r"\\.", lambda escape: _UNESCAPES.get(escape[0], escape[0]), name)] = float(value)
        except ValueError:
            continue
    return found
