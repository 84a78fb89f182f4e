"""The alarms and the dashboard in configs/ name metrics that are written, in PromQL that Prometheus understands."""

import itertools
import re
import subprocess

import msgspec
import promql_parser
import pytest

from pipeline.metrics import METRICS
from tests.watched.dashboard import Dashboard
from tests.watched.prometheus import ROOT, program

NAMES = {metric.name for metric in METRICS}
LABELS = {"source", *(metric.label for metric in METRICS if metric.label)}
RULES = ROOT / "configs" / "prometheus" / "alerts.yml"
BOARD = msgspec.json.decode((ROOT / "configs" / "grafana" / "pipeline.json").read_bytes(), type=Dashboard)
ALARMS = dict(re.findall(r"^ +- alert: (\w+)\n +expr: (.+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE))
SHOWN = [target.expr for panel in BOARD.panels for target in panel.targets]


def selected(expression):
    """Parse an expression; return the metrics that it names."""
    promql_parser.parse(expression)
    return set(re.findall(r"\bpipeline_\w+", expression))


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_names_what_is_written(alarm):
    """Its expression parses, and every metric in it is one of ours."""
    assert selected(ALARMS[alarm])
    assert selected(ALARMS[alarm]) <= NAMES


def test_the_alarms_are_read():
    """No alarm is overlooked by this test, and each says what to do."""
    text = RULES.read_text(encoding="utf-8")
    assert len(ALARMS) == text.count("alert:") == text.count("description:") >= 8
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= LABELS
    assert "`pipeline" in text


@pytest.mark.parametrize("expression", SHOWN)
def test_a_panel_names_what_is_written(expression):
    """Its expression parses, every metric in it is one of ours, and it is of the sources chosen."""
    assert selected(expression) <= NAMES
    assert expression.count('{source=~"$source"}') == len(re.findall(r"pipeline_", expression))


def test_everything_that_is_written_is_shown():
    """The dashboard leaves no metric out."""
    assert set().union(*map(selected, SHOWN)) == NAMES


def test_the_dashboard_is_whole():
    """Panels have ids of their own and overlap nowhere; datasource and source are variables of it."""
    assert (
        len({panel.id for panel in BOARD.panels}) == len({panel.title for panel in BOARD.panels}) == len(BOARD.panels)
    )
    for one, other in itertools.combinations([panel.gridPos for panel in BOARD.panels], 2):
        assert one.x + one.w <= other.x or other.x + other.w <= one.x or one.y + one.h <= other.y
    assert all(panel.gridPos.x + panel.gridPos.w <= 24 for panel in BOARD.panels)
    variables = {one.name: one for one in BOARD.templating.list}
    assert list(variables) == ["datasource", "source"]
    assert (variables["datasource"].type, variables["datasource"].query) == ("datasource", "prometheus")
    assert selected(variables["source"].definition[len("label_values(") :].partition(",")[0]) <= NAMES
    for label in re.findall(
        r"\{\{(\w+)\}\}", "".join(one.legendFormat for panel in BOARD.panels for one in panel.targets)
    ):
        assert label in LABELS


def judged(*call):
    """Let promtool judge; return what it said, and fail where it did not like it."""
    done = subprocess.run(
        [program("promtool"), *map(str, call)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alarms_are_rules():
    """The file of alarms is one that Prometheus loads."""
    assert f"{len(ALARMS)} rules found" in judged("check", "rules", RULES)


def test_each_alarm_rings_when_it_should():
    """Good nights are silent; each alarm rings at its border, with the words that its reader sees."""
    file = ROOT / "tests" / "watched" / "alerts_test.yml"
    judged("test", "rules", file)
    rung = re.findall(r"alertname: (\w+)\n +exp_alerts:", file.read_text(encoding="utf-8"))
    assert set(rung) == set(ALARMS)


def test_the_panels_are_promql(tmp_path):
    """Each expression of the dashboard is one that Prometheus evaluates."""
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(SHOWN)]
    file = tmp_path / "panels.yml"  # JSON is YAML
    file.write_bytes(msgspec.json.encode({"groups": [{"name": "panels", "rules": rules}]}))
    judged("check", "rules", file)
