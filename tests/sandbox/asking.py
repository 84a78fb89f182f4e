"""A plain client of the sandbox, and the naive walk that every official SDK does."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipeline.sandbox.clock import Clock
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "recordings"
NOW = 1_758_040_000
LIST = "/chat/completions"

needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside the project")


@contextmanager
def asking(store, **options):
    """Serve a store and hand out the server and a client of it; the query of the base URL goes with every request."""
    with Server(store, **options) as server:
        base = httpx.URL(server.base_url)
        with httpx.Client(base_url=base.copy_with(query=None), params=base.params, trust_env=False) as client:
            yield server, client


def stocked(seconds, **options):
    """Return a store with one row for each of ``seconds``, named r0, r1 and so on, on a clock that stands still."""
    store = Store(clock=Clock(NOW), **options)
    for number, second in enumerate(seconds):
        store.add({"id": f"r{number}", "created": second, "model": "m", "metadata": {"n": str(number)}})
    return store


def walk(client, **params):
    """Walk by the last id, as the SDKs do, and return the pages."""
    pages = []
    while not pages or pages[-1]["has_more"]:
        after = {"after": pages[-1]["last_id"]} if pages else {}
        pages.append(client.get(LIST, params={**params, **after}).raise_for_status().json())
    return pages


def ids(*pages):
    """Return the ids that pages show, in order."""
    return [row["id"] for page in pages for row in page["data"]]


def recorded(name):
    """Return the recorded requests of one file."""
    with (RECORDINGS / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
