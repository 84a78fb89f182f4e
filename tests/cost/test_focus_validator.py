"""The official FOCUS validator finds nothing wrong in our files beyond what is known and written down with reasons."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.program import pipeline

from . import focus_known as known
from .focus_data import FOREIGN, HOSTILE, MONTH, folder, rows

ENVIRONMENT = Path(__file__).parents[2] / ".venv-focus"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (ENVIRONMENT / "made").exists(),
        reason="the FOCUS validator is not here: `make .venv-focus/made` installs it where there is a Python 3.12",
    ),
]
#: What the validator does not skip of its 578 checks: fewer would mean that it looked at less.
CHECKS, CHECKS_WITH_CRITERIA = 137, 200
MONTHS = {
    # The validator takes the text NULL for no text.
    "all": lambda: rows(hostile=[text for text in HOSTILE if text != "NULL"]),
    "foreign": lambda: rows(20, hostile=FOREIGN),
    "empty": list,
}
PLAIN = {
    "all": known.ALWAYS,
    "foreign": known.ALWAYS | known.WITH_FOREIGN_NAMES,
    "empty": known.WITHOUT_ROWS,
}
WITH_CRITERIA = {
    "all": PLAIN["all"] | known.WITH_CRITERIA,
    "foreign": PLAIN["foreign"] | known.WITH_CRITERIA | known.WITH_FOREIGN_NAMES_AND_CRITERIA,
    "empty": PLAIN["empty"] | known.WITH_CRITERIA,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Publish each month."""
    paths = {name: tmp_path_factory.mktemp(name) for name in MONTHS}
    return {name: (path, folder(path, MONTHS[name]())) for name, path in paths.items()}


@pytest.mark.parametrize(
    ("month", "form", "criteria"),
    [
        ("all", "csv", ()),
        ("all", "parquet", known.CRITERIA),
        ("foreign", "csv", ()),
        ("foreign", "parquet", known.CRITERIA),
        ("empty", "csv", ()),
        ("empty", "parquet", known.CRITERIA),
    ],
    ids=lambda value: value if isinstance(value, str) else "criteria" if value else "plain",
)
def test_the_validator_finds_what_is_known_and_nothing_else(published, month, form, criteria):
    """Neither more nor less: a known failure that is gone is taken off the list."""
    path, settings = published[month]
    out = path / f"focus.{form}"
    done = pipeline("focus", *settings, "--month", MONTH, "--format", form, "--out", out)
    assert done.returncode == 0, done.stderr
    passed, failed = validated(out, path / "report.xml", criteria)
    allowed = (WITH_CRITERIA if criteria else PLAIN)[month]
    assert [rule for rule in failed if not rule.startswith(tuple(allowed))] == []
    assert [rule for rule in allowed if not any(one.startswith(rule) for one in failed)] == []
    assert passed + len(failed) >= (CHECKS_WITH_CRITERIA if criteria else CHECKS)


def validated(file, report, criteria):
    """Run the validator; return how many of its checks passed, and the rules that failed. Its exit code tells nothing.

    It opens a list of its own relative to the current folder, and would fetch rules if it might.
    """
    (packages,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    call = [
        ENVIRONMENT / "bin" / "focus-validator",
        *("--data-file", file, "--output-type", "unittest", "--output-destination", report),
        *("--block-download", "--validate-version", "1.2.0.1", "--focus-dataset", "CostAndUsage"),
        *(("--applicability-criteria", ",".join(criteria)) if criteria else ()),
    ]
    report.unlink(missing_ok=True)
    done = subprocess.run(call, cwd=packages, capture_output=True, text=True, timeout=250, check=False)
    assert report.exists(), done.stderr[-2000:]
    cases = ET.parse(report).getroot().findall("./testsuite/testcase")  # noqa: S314 - a report that we had made
    assert len(cases) > 500
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - len(failed) - skipped, [case.get("name").split(" :: ")[0] for case in failed]
