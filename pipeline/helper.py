"""What every helper process is started with: our own modules, and allocators that give memory back."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of Arrow's own allocator and of one arena of the C library for each thread more stays with the process than it needs:
#: 180 MB of 830 in a first export. It takes no longer without.
_POOL = "jemalloc"
_ARENAS = {"MALLOC_ARENA_MAX": "2"}


def environment(handed_on: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a helper; what is handed on to it wins."""
    pool = {"ARROW_DEFAULT_MEMORY_POOL": _POOL} if _POOL in pa.supported_memory_backends() else {}
    return {**pool, **_ARENAS, **handed_on, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
