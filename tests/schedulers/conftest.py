"""Two shards that are served as of now, and the folder of their settings."""

import time

import pytest

from tests.e2e.place import NOW, Place

from .scheduler import shard


@pytest.fixture
def shards(tmp_path):
    """Serve three completions of one shard and two of another; hands out the folder of settings and the places."""
    folder = tmp_path / "settings"
    folder.mkdir()
    for name in ("prod", "search"):
        (tmp_path / name).mkdir()
    with Place(tmp_path / "prod") as prod, Place(tmp_path / "search") as search:
        for name, place, count in (("prod", prod, 3), ("search", search, 2)):
            place.clock.advance(time.time() - NOW)
            place.add(int(place.clock()) - 600, count)
            shard(folder, name, place)
        yield folder, prod, search
