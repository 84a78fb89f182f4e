"""What several tests of a whole data folder begin with."""

from __future__ import annotations

import pytest

from .world import NOW, World


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Export a served source to ten segments or more, of more than a pipe takes in; some completions were edited."""
    with World(tmp_path_factory.mktemp("original"), limit=10, segment_size=3_000) as one:
        ids = [one.add(NOW - 4000 + second, seed="no number" if second == 7 else second)[0] for second in range(120)]
        one.clock.advance(60)
        one.run()
        one.store.edit(ids[100], {"team": "search"})
        one.clock.advance(60)
        one.run()
        yield one
