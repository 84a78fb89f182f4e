"""Generated completions are the same each time, and have what they claim to have."""

import json
from collections import Counter

import pytest

from pipeline.sandbox.clock import Clock
from pipeline.sandbox.generate import DAY, HOUR, LARGEST_GROUP, later, month
from pipeline.sandbox.store import Store

from .asking import NOW


def filled(completions=5000, **options):
    """Return a store with a month of completions."""
    store = Store(clock=Clock(NOW))
    assert month(store, completions=completions, **options) == completions
    return store


@pytest.fixture(scope="module")
def rows():
    """Return the rows of a month of which everything has surfaced."""
    store = filled()
    store.clock.advance(3 * HOUR)
    return [json.loads(body) for body in store.bodies().values()]


def test_same_seed_same_bytes():
    """The same arguments make the same bytes, another seed makes others."""
    one, again, other = (filled(200, seed=seed).bodies() for seed in (1, 1, 2))
    assert one == again
    assert not set(one) & set(other)


def test_count_and_span(rows):
    """All completions lie in the days asked for, with ids of their own."""
    assert len({row["id"] for row in rows}) == 5000
    assert all(NOW - 30 * DAY <= row["created"] < NOW for row in rows)


def test_variety(rows):
    """Several models, tool calls, n > 1, refusals, schemas, cut answers, bare and full metadata and usage."""
    choices = [choice for row in rows for choice in row["choices"]]
    assert len({row["model"] for row in rows}) >= 6
    assert {choice["finish_reason"] for choice in choices} == {"stop", "length", "tool_calls"}
    assert sum(bool(choice["message"]["tool_calls"]) for choice in choices) > 100
    assert sum(len(row["choices"]) > 1 for row in rows) > 20
    assert sum("refusal" in choice["message"] for choice in choices) > 3
    assert {row["response_format"] and row["response_format"]["type"] for row in rows} == {None, "json_schema"}
    assert {tuple(row["metadata"]) for row in rows} >= {(), ("team", "feature", "environment")}
    assert {len(row["usage"]) for row in rows} == {3, 5}
    assert {row["service_tier"] for row in rows} == {"default", "flex", "priority"}
    assert any(not (choice["message"]["content"] or "").isascii() for choice in choices)


def test_many_share_a_second(rows):
    """Now and then up to a dozen completions share their second."""
    groups = Counter(Counter(row["created"] for row in rows).values())
    assert groups[1] > 3000
    assert sum(count for size, count in groups.items() if size >= 6) > 10
    assert LARGEST_GROUP <= max(groups) <= 2 * LARGEST_GROUP


def test_rhythm(rows):
    """Working hours are busier than nights, weekdays busier than weekends."""
    hours = Counter(row["created"] // HOUR % 24 for row in rows)
    days = Counter((row["created"] - 4 * DAY) // DAY % 7 for row in rows)
    assert hours[10] > 5 * hours[3]
    assert days[1] > 2 * days[6]


def test_tokens_follow_the_text(rows):
    """Totals add up, and completion tokens grow with the answer."""
    for row in rows:
        usage = row["usage"]
        text = sum(len((choice["message"]["content"] or "").encode()) for choice in row["choices"])
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage["completion_tokens"] >= text // 5
        assert usage["prompt_tokens"] > 10


def test_size(rows):
    """A body has about two kilobytes."""
    sizes = [len(json.dumps(row)) for row in rows]
    assert 1500 < sum(sizes) / len(sizes) < 2500


def test_messages():
    """Every completion has its inputs, system first; some have turns, some an image."""
    store = filled(400)
    pages = [[json.loads(row) for row in store.messages(name).rows] for name in store.visible_ids()]
    assert all([row["role"] for row in page[:2]] == ["system", "user"] for page in pages)
    assert any(len(page) > 2 for page in pages)
    parts = [part for page in pages for row in page for part in row["content_parts"] or ()]
    assert any((part["image_url"] or {}).get("url", "").startswith("data:image/png") for part in parts)


def test_rows_come_late():
    """Rows become visible seconds after they are created, and a few an hour or more."""
    store, seen = Store(clock=Clock(NOW)), Counter()
    month(store, completions=4000, days=1, until=NOW + DAY)
    known = set()
    for _ in range(26 * 6):
        store.clock.advance(600)
        for name in store.visible_ids() - known:
            seen[(int(store.clock()) - json.loads(store.retrieve(name))["created"]) // HOUR] += 1
            known.add(name)
    assert sum(seen.values()) == 4000
    assert seen[0] > 3900
    assert seen[1] + seen[2] > 5
    assert max(seen) <= 2


def test_later():
    """A later day adds visible rows only, a dozen of them created before the day began."""
    store = filled(500)
    store.clock.advance(DAY)
    before = store.visible_ids()
    assert later(store) == 300
    created = [json.loads(store.retrieve(name))["created"] for name in store.visible_ids() - before]
    assert len(created) == 300
    assert sum(second <= NOW for second in created) == 12
    assert all(NOW - 2 * HOUR <= second < NOW + DAY for second in created)
