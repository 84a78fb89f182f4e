"""A served store, a data folder that exports of it go to, and what that folder holds afterwards."""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import duckdb
import pyarrow.parquet as pq

import pipeline
from pipeline.config import Config, Source
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store
from pipeline.status import status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.result import RunResult
    from pipeline.sandbox.app import Identity, Received
    from pipeline.sandbox.shape import Shape
    from pipeline.status import SourceStatus

NOW = 1_758_000_000
KEY = "sk-this-is-the-key-of-the-tests"
#: The archive alone: what a test needs that looks at no table.
BARE = {"parquet": False, "duckdb": False}


class Place:
    """One server and one data folder; a run may be given faults, counted from the run's own first request."""

    def __init__(
        self, folder: Path, shape: Shape | None = None, *, seed: int = 0, identity: Identity | None = None
    ) -> None:
        self.data = folder / "data"
        self.clock = Clock(NOW)
        self.store = Store(self.clock, shape, seed)
        self.meddle: Callable[[Received], object] | None = None
        self.server = Server(self.store, key=KEY, identity=identity, on_request=self._meddle)
        self._key = folder / "key"
        self._key.write_text(f"{KEY}\n", encoding="utf-8")
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def _meddle(self, received: Received) -> None:
        if self.meddle:
            self.meddle(received)

    def add(self, second: int, count: int = 1, **fields: object) -> list[str]:
        """Store some completions of one second."""
        return [self.store.add({**completion(f"id-{next(self._numbers)}", second), **fields}) for _ in range(count)]

    def source(self, name: str = "prod", **settings: object) -> Source:
        """Describe the server as a source; it waits as briefly as the policy can."""
        impatient = {"retry_attempts": 3, "retry_time": 20.0, "timeout": 20.0}
        return Source(name, base_url=self.server.base_url, api_key=f"file:{self._key}", **{**impatient, **settings})  # type: ignore[arg-type]

    def config(self, *, bare: bool = False, **settings: object) -> Config:
        """Make the settings of a run."""
        return Config(data=self.data, sources=(self.source(**settings),), **(BARE if bare else {}))

    def run(self, *faults: str, bare: bool = False, **settings: object) -> RunResult:
        """Export once, with these faults and no other."""
        asked = sum(request.list_number is not None for request in self.server.requests)
        parsed = [Fault.parse(text) for text in faults]
        self.server.app.faults = tuple(replace(fault, at=fault.at + asked) for fault in parsed)
        return pipeline.run(self.config(bare=bare, **settings))

    def status(self, **settings: object) -> SourceStatus:
        """Tell how the source stands."""
        return status(self.config(**settings))[0]

    def await_answer(self, list_number: int) -> None:
        """Wait until a list request has its answer, or half of it; the server has no event for that."""
        while not any(one.list_number == list_number and one.status for one in self.server.requests):
            time.sleep(0.01)

    def asked(self) -> int:
        """Count every request so far."""
        return len(self.server.requests)


def completion(id_: str, second: int) -> dict[str, object]:
    """Make a small completion."""
    return {
        "id": id_,
        "object": "chat.completion",
        "created": second,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "metadata": {},
    }


def archived(data: Path, source: str = "prod") -> list[dict[str, object]]:
    """Return every version of a completion in the archive, oldest first."""
    rows = []
    for path in sorted((data / "archive" / source).glob("*.parquet")):
        rows += [row for row in pq.ParquetFile(path).read().to_pylist() if row["kind"] == "completion"]
    return rows


def held(data: Path, source: str = "prod") -> set[str]:
    """Return the ids in the archive."""
    return {str(row["id"]) for row in archived(data, source)}


def in_parquet(data: Path) -> list[str]:
    """Return the ids of the Parquet dataset, by the plain glob that anybody would use."""
    with closing(duckdb.connect()) as connection:
        return _ids(connection, f"read_parquet('{data}/parquet/completions/**/*.parquet')")


def in_snapshot(data: Path) -> list[str]:
    """Return the ids of the published snapshot."""
    with closing(pipeline.connect(data)) as connection:
        return _ids(connection, "completions")


def _ids(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return sorted(row[0] for row in connection.execute(f"SELECT id FROM {table}").fetchall())
