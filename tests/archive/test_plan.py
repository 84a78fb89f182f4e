"""Which input messages are due: derived from the archive, handed out once, counted whether handed out or not."""

from __future__ import annotations

from itertools import islice

import pytest

from pipeline.archive.plan import Plan

from .made import archive_in, intake_of, keep, reading, row


@pytest.fixture
def archive(tmp_path):
    """Hold ten completions in two segments, and the messages of one; one has two versions."""
    one = archive_in(tmp_path)
    keep(one, *(row(f"r{second}", second) for second in range(5)))
    keep(one, *(row(f"r{second}", second) for second in range(5, 10)), row("r1", 1, version=2))
    intake = intake_of(one)
    intake.take_messages("r0", 0, [b"{}"])
    intake.cut(reading())
    return one


@pytest.mark.parametrize("handed_out", range(10))
def test_all_that_waits_is_counted(archive, handed_out):
    """Wherever the handing out ended: everything due that is not done, each completion once."""
    plan = Plan(archive)
    done = [due.id for due in islice(plan.due(), handed_out)]
    for id_ in done[: handed_out // 2]:
        if id_ != "r1":
            plan.done(id_)
    assert plan.waiting == 9 - handed_out // 2 + ("r1" in done[: handed_out // 2])


def test_nothing_waits_when_all_is_done(archive):
    """Every completion is handed out once; then nothing is due up to the last segment."""
    plan = Plan(archive)
    handed_out = [due.id for due in plan.due()]
    assert sorted(handed_out) == [f"r{second}" for second in range(1, 10)]
    assert plan.settled == 0
    for id_ in handed_out:
        plan.done(id_)
    assert (plan.waiting, plan.settled) == (0, archive.last)


def test_what_was_not_handed_out_is_not_settled(archive):
    """Counting what waits settles nothing."""
    plan = Plan(archive)
    for due in islice(plan.due(), 6):
        plan.done(due.id)
    assert plan.waiting == 3
    assert plan.settled == 1
