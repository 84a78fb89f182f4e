"""What a run over a bad line must have kept, and what the next one over a good line brings home."""

from __future__ import annotations

from contextlib import contextmanager

from pipeline.nightly import export
from tests.truth.world import NOW, World, prove, versions

from .line import Line

COUNT = 24


class Far(World):
    """A served store that only a line leads to; it remembers what had been shown when each request came."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **{"overlap": 0.0, **settings})
        self._before_each = []
        self.server.app.on_request = lambda _: self._before_each.append(len(self.store.shown))
        for second in range(COUNT):
            self.add(NOW - 2 * COUNT + second)

    def run_over(self, line, *, stop=None, bare=False, **settings):
        """Export once over a line; what was shown before is forgotten."""
        self.store.shown.clear()
        self._before_each.clear()
        tables = {"parquet": not bare, "duckdb": not bare}
        return export(self.config(**tables, **{"base_url": line.base_url, **settings}), stop=stop)

    def held(self):
        """Return every version held, by id; nothing where there is no archive."""
        return versions(self.archive())

    def assert_kept(self):
        """Check that every page that was followed by another question is held."""
        read = self.store.shown[: self._before_each[-1]] if self._before_each else []
        assert {id_ for id_, _ in read} <= self.held().keys()

    def assert_home(self, line, *, bare=False, **settings):
        """Check that a run over the line completes, and that all is held exactly once."""
        result = self.run_over(line, bare=bare, **settings)
        assert (result.exit_code, result.sources[0].complete, result.sources[0].why_not) == (0, True, None)
        self.assert_all_once(bare=bare)

    def assert_all_once(self, *, bare=False):
        """Check that all that is stored is held, each once, in the archive and in every destination."""
        held = self.held()
        assert held.keys() == self.store.visible_ids()
        assert {len(bodies) for bodies in held.values()} == {1}
        prove(self.data, parquet=not bare, duckdb=not bare)


@contextmanager
def joined(folder, weather=None, **settings):
    """Serve a store behind a line."""
    with Far(folder, **settings) as far, Line(far.server.base_url, weather) as line:
        yield far, line
