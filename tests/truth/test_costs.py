"""What happens to a completion changes nothing of what it cost: it was billed once."""

from __future__ import annotations

import datetime as dt

import pytest

from pipeline.adopt import adopt
from pipeline.costs import ask_costs
from pipeline.forget import forget
from pipeline.nightly import Asked
from pipeline.repair import repair

from .world import DAY, HOUR, NOW, World

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
PRICED = {"model": "gpt-4.1-2025-04-14", "usage": USAGE, "metadata": {"team": "search"}}


@pytest.fixture
def world(tmp_path):
    """Export ten completions of a known price, two days old."""
    with World(tmp_path, limit=20, sweep_every=1e9) as one:
        one.ids = [one.add(NOW - 2 * DAY + number, **PRICED)[0] for number in range(10)]
        one.run(parquet=False)
        yield one


def cost(world, *by):
    """Return requests and cost by group, and in all."""
    answer = ask_costs(world.config(), by=by, since=dt.date(2025, 9, 1), until=dt.date(2025, 10, 1))
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return [(row["requests"], str(row["cost"]).rstrip("0")) for row in (*rows, answer.total)]


@pytest.mark.slow
def test_a_new_version_never_counts_twice(world):
    """An edit of metadata moves a cost from one tag to another, and adds nothing."""
    assert cost(world) == [(10, "0.028")] * 2
    world.store.edit(world.ids[0], {"team": "ads"})
    world.run(parquet=False, asked=Asked(sweep=True))
    assert cost(world, "metadata:team") == [(9, "0.0252"), (1, "0.0028"), (10, "0.028")]


@pytest.mark.slow
def test_what_is_gone_keeps_its_cost(world):
    """A completion that was deleted or expired was billed all the same."""
    world.store.delete(world.ids[0])
    world.clock.advance(HOUR)
    assert world.run(parquet=False, asked=Asked(sweep=True)).sources[0].gone == 1
    assert cost(world)[-1] == (10, "0.028")


@pytest.mark.slow
def test_what_is_forgotten_costs_nothing_any_more(world):
    """A forgotten completion is in no cost: nothing of it is left but the hash of its id."""
    forget(world.config(), ids=[world.ids[0]])
    assert cost(world)[-1] == (9, "0.0252")


@pytest.mark.slow
def test_a_rebuild_and_adopted_completions(world, tmp_path):
    """Made anew, everything costs what it did; what was adopted counts once, listed later or not."""
    body = world.store.bodies()[world.ids[0]]
    (tmp_path / "saved.jsonl").write_bytes(body.replace(b'"c0"', b'"saved"') + b"\n" + body)
    adopt(world.config(), tmp_path / "saved.jsonl", source="prod")
    world.run(parquet=False)
    assert cost(world)[-1] == (11, "0.0308")
    repair(world.config(), "duckdb")
    assert cost(world)[-1] == (11, "0.0308")
