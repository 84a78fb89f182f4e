"""A server that remembers what it showed, a data folder, and the proof that the one is in the other."""

from __future__ import annotations

import hashlib
import itertools
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import duckdb

from pipeline.archive import segments
from pipeline.archive.segments import Archive
from pipeline.config import Config, Source
from pipeline.folder import DataFolder
from pipeline.load import manifest
from pipeline.nightly import Asked, export
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store
from pipeline.schema import TABLES
from tests.load import test_duckdb, test_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.result import RunResult
    from pipeline.sandbox.listing import Listing, Query
    from pipeline.sandbox.shape import Shape

NOW = 1_758_000_000
HOUR, DAY = 3600, 86_400
KEY = "sk-of-a-test"


class Showing(Store):
    """A store that remembers every row that it showed, in order, and every one that it lost."""

    def __init__(self, clock: Clock, shape: Shape | None = None, seed: int = 0) -> None:
        super().__init__(clock, shape, seed)
        self.shown: list[tuple[str, bytes]] = []
        self.lost: dict[str, bytes] = {}

    def list(self, query: Query | None = None) -> Listing:
        listing = super().list(query)
        self.shown += [(json.loads(body).get("id", ""), body) for body in listing.rows]
        return listing

    def delete(self, completion_id: str) -> None:
        body = self.bodies().get(completion_id)
        super().delete(completion_id)
        if body is not None:
            self.lost[completion_id] = body


class World:
    """One server, one data folder, and the settings that join them."""

    def __init__(self, folder: Path, shape: Shape | None = None, **settings: Any) -> None:
        self.clock = Clock(NOW)
        self.store = Showing(self.clock, shape)
        self.server = Server(self.store, key=KEY)
        self.data = folder / "data"
        self.folder = DataFolder(self.data)
        self._key = folder / "key"
        self._key.write_text(KEY)
        self._settings = {"limit": 4, "overlap": 4.0 * HOUR, "segment_size": 2000, "retry_attempts": 1} | settings
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def add(self, second: int, count: int = 1, *, visible_at: float | None = None, **fields: object) -> list[str]:
        """Store some completions of one second."""
        made = [{**completion(f"c{next(self._numbers)}", second), **fields} for _ in range(count)]
        return [self.store.add(body, visible_at=visible_at) for body in made]

    def source(self, **settings: Any) -> Source:
        """Describe the server as the source ``prod``."""
        where = {"base_url": self.server.base_url, "api_key": f"file:{self._key}"}
        return Source("prod", **where | self._settings | settings)

    def config(self, *, parquet: bool = True, duckdb: bool = True, **settings: Any) -> Config:
        """Make the settings of a run."""
        return Config(data=self.data, sources=(self.source(**settings),), parquet=parquet, duckdb=duckdb)

    def run(self, *, asked: Asked | None = None, **settings: Any) -> RunResult:
        """Export once; what was shown before is forgotten."""
        self.store.shown.clear()
        return export(self.config(**settings), asked=asked)

    def lists(self) -> int:
        """Count the list requests so far."""
        return sum(request.list_number is not None for request in self.server.requests)

    def archive(self, source: str = "prod") -> Archive:
        """Open the archive anew, as the next run would."""
        return Archive(self.folder.archive, source, scratch=self.folder.scratch)

    def position(self) -> int | None:
        """Say up to where the archive holds everything that was visible."""
        return self.archive().position(self.source().fingerprint)


def completion(id_: str, second: int) -> dict[str, object]:
    """Make a small completion with a choice and a tool call."""
    call = {"id": f"call-{id_}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": f"I am {id_}", "tool_calls": [call]}
    return {
        "id": id_,
        "object": "chat.completion",
        "created": second,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "metadata": {},
    }


def versions(archive: Archive) -> dict[str, list[bytes]]:
    """Return every version that an archive holds, by id, oldest first."""
    found: dict[str, list[bytes]] = {}
    for segment in archive.after(0):
        for row in segment.table.to_pylist():
            if row["kind"] == "completion":
                found.setdefault(row["id"], []).append(row["body"])
    return found


def lives(archive: Archive) -> dict[str, list[bytes | None]]:
    """Return what an archive holds of each id, oldest first: its versions, and None where it was found gone."""
    found: dict[str, list[bytes | None]] = {}
    for segment in archive.after(0):
        for row in segment.table.to_pylist():
            if row["kind"] in {"completion", "gone"}:
                found.setdefault(row["id"], []).append(row["body"] if row["kind"] == "completion" else None)
    return found


def assert_kept_once(archive: Archive) -> None:
    """Fail where an archive holds a version twice in a row: what was shown again unchanged is no new one."""
    for id_, life in lives(archive).items():
        for one, following in itertools.pairwise(life):
            assert not (one and following and same(one, following)), id_


def same(one: bytes, other: bytes) -> bool:
    """Compare bodies as parsed JSON."""
    return bool(json.loads(one) == json.loads(other))


def rows_of_parquet(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Read every table's rows from the Parquet dataset."""
    return test_parquet.TestParquet().contents(data)


def rows_of_duckdb(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Read every table's rows from a DuckDB file."""
    with closing(duckdb.connect(file, read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = {name: test_duckdb.TestDuckDB().rows(connection, name) for name in TABLES}
    return {name: sorted((dict(sorted(row.items())) for row in table), key=repr) for name, table in rows.items()}


def bookmarks_of_duckdb(file: Path) -> dict[str, int]:
    """Read the bookmarks of a DuckDB file."""
    with closing(duckdb.connect(file, read_only=True)) as connection:
        return dict(connection.execute("SELECT source, segment FROM bookmarks").fetchall())


def prove(data: Path, *, parquet: bool = True, duckdb: bool = True) -> None:
    """Prove that the destinations hold what the archive holds, once each, and that no work is left behind."""
    folder = DataFolder(data)
    names = segments.sources(folder.archive)
    archives = {name: Archive(folder.archive, name, scratch=folder.scratch) for name in names}
    last = {name: archive.last for name, archive in archives.items() if archive.last}
    held = {(name, id_): every[-1] for name, archive in archives.items() for id_, every in versions(archive).items()}
    if parquet:
        tables = rows_of_parquet(data)
        assert manifest.read(folder.parquet).bookmarks == last
        _prove_completions(tables["completions"], held)
    if duckdb:
        published = rows_of_duckdb(folder.snapshot)
        assert bookmarks_of_duckdb(folder.snapshot) == bookmarks_of_duckdb(folder.warehouse) == last
        assert published == rows_of_duckdb(folder.warehouse)
        _prove_completions(published["completions"], held)
        assert not parquet or published == tables
    prove_tidy(data)


def prove_tidy(data: Path) -> None:
    """Prove that no temp file and no log of DuckDB lies anywhere."""
    left = [path for path in data.rglob("*") if path.name.endswith((".tmp", ".wal"))]
    assert left == []


def _prove_completions(rows: list[dict[str, Any]], held: Mapping[tuple[str, str], bytes]) -> None:
    assert len(rows) == len(held)
    for row in rows:
        body = held[row["source"], row["id"]]
        assert row["content_hash"] == hashlib.sha256(body).hexdigest()
        assert dict(row["metadata"]) == json.loads(body)["metadata"]
