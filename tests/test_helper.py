"""What helper processes are started with."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.helper import environment

_ASK = "import pyarrow, pipeline; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="this Arrow was built without jemalloc")
def test_a_helper_gives_memory_back():
    """Arrow in a helper uses the allocator that gives memory back, and says nothing about it."""
    done = subprocess.run([sys.executable, "-c", _ASK], env=environment({}), capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("jemalloc", "")


def test_an_allocator_that_arrow_lacks_is_not_asked_for(monkeypatch):
    """Where Arrow was built without it nothing is named: Arrow would warn in every run."""
    monkeypatch.setattr(pa, "supported_memory_backends", lambda: ["system"])
    assert "ARROW_DEFAULT_MEMORY_POOL" not in environment({})


def test_what_is_handed_on_wins():
    """Who has chosen an allocator keeps it."""
    chosen = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "7"}
    assert chosen.items() <= environment(chosen).items()
