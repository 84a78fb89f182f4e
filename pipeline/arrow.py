"""Arrow in, Arrow out: the transform as a pure function, for engines that run it on many machines.

What an engine must know besides is how the batches of a source come together, which ``handoff.Batch`` says and
``pipeline.spark`` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.archive import segments, tombstones
from pipeline.transform import flatten

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.handoff import Batch


def flatten_segment(
    data: bytes | pa.Buffer,
    *,
    forgotten: bytes | None = None,
    source: str | None = None,
    logprobs: bool = False,
    path: str = "the segment",
) -> Batch:
    """Flatten the bytes of one segment, exactly as a load does. Raises FolderError as ``pipeline.flatten_segment``."""
    told = tombstones.Tombstones() if forgotten is None else tombstones.parse(forgotten, f"{tombstones.NAME} of {path}")
    segment = segments.segment(data, told, path)
    return flatten(replace(segment, source=source or segment.source), tokens=logprobs)
