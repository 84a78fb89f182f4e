"""The completions of an archive with Ray Data: ``python flatten.py ARCHIVE OUT`` writes them as Parquet files.

ARCHIVE is the folder ``archive`` of a data folder, which every worker sees. Of each completion the latest version is
kept. Its ``gone_at`` may come with a later segment: see ``updates`` of ``pipeline.flatten_segment``. Of other tables
keep the rows whose ``segment`` is not before that of their completion.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipeline import flatten_segment

archive, out = sys.argv[1:]
#: What an unfinished `pipeline forget` still has to take out of the segments, by folder.
FORGOTTEN = {str(path.parent): path.read_bytes() for path in Path(archive).glob("*/forgotten.json")}


def flattened(segment: pa.Table) -> pa.Table:
    """Return the rows of one segment."""
    (row,) = segment.to_pylist()
    forgotten = FORGOTTEN.get(str(Path(row["path"]).parent))
    return flatten_segment(row["bytes"], forgotten=forgotten, path=row["path"]).tables["completions"]


def latest(completion: pa.Table) -> pa.Table:
    """Keep the rows of the last segment."""
    return completion.filter(pc.equal(completion["segment"], pc.max(completion["segment"])))


segments = sorted(str(path) for path in Path(archive).glob("*/*.parquet"))
rows = ray.data.read_binary_files(segments, include_paths=True)
rows = rows.map_batches(flattened, batch_size=1, batch_format="pyarrow")
rows.groupby(["source", "id"]).map_groups(latest, batch_format="pyarrow").write_parquet(out)
