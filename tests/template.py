"""An empty warehouse made once, and copied: binding its views is most of a small run, and of a small verify.

Tests of what makes one have none of it (``__wrapped__``), nor has the program in a process of its own.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import pipeline.load.duckdb as door
from pipeline.load import tables


def copied_from(folder):
    """Return what prepares a writer's file, and begins a new one with a copy of the one it made first in ``folder``."""
    made, prepared = {}, door._prepared

    @functools.wraps(prepared)
    def copied(path, layout, cost, *, is_new):
        if is_new:
            key = (layout, repr(cost), repr(door._WRITER), repr(sorted(tables.LONG)))
            if key not in made:
                template = Path(tempfile.mkdtemp(dir=folder)) / path.name
                prepared(template, layout, cost, is_new=True).close()
                made[key] = template
            shutil.copyfile(made[key], path)
        return prepared(path, layout, cost, is_new=False)

    return copied


def use(folder):
    """Let this process begin its warehouses so from now on."""
    door._prepared = copied_from(folder)
