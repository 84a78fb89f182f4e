"""Failpoints: every place is named once, and they cost nothing while unset."""

import re
from pathlib import Path

import pytest

from pipeline import failpoints
from pipeline.failpoints import FailpointError

PACKAGE = Path(failpoints.__file__).parent


def test_every_place_in_the_code_is_named_and_every_name_is_a_place():
    """``NAMES`` is what the code passes, so that a test over ``NAMES`` visits every place there is."""
    places = [found for file in PACKAGE.rglob("*.py") for found in re.findall(r'reach\("([^"]+)"\)', file.read_text())]
    assert sorted(places) == sorted(failpoints.NAMES)


def test_a_place_fails_at_the_pass_asked_for_and_only_there():
    """Passes are counted by name; when the block ends nothing is armed or counted any more."""
    with failpoints.armed("run.page=raise:2;run.loaded=raise"):
        failpoints.reach("run.page")
        failpoints.reach("archive.cut")
        with pytest.raises(FailpointError, match=r"run\.page"):
            failpoints.reach("run.page")
        failpoints.reach("run.page")
        with pytest.raises(FailpointError, match=r"run\.loaded"):
            failpoints.reach("run.loaded")
    failpoints.reach("run.page")
    with failpoints.armed("run.page=raise:1"), pytest.raises(FailpointError):
        failpoints.reach("run.page")
