"""The completions of an archive with Daft: ``python flatten.py ARCHIVE OUT`` writes them as Parquet files.

ARCHIVE is the folder ``archive`` of a data folder. Of each completion the latest version is kept. Its ``gone_at`` may
come with a later segment: see ``updates`` of ``pipeline.flatten_segment``. Of other tables keep the rows whose
``segment`` is not before that of their completion.
"""

import os
import sys
from pathlib import Path

import daft
import pyarrow as pa

from pipeline import flatten_segment
from pipeline.schema import TABLES

archive, out = sys.argv[1:]
#: What an unfinished `pipeline forget` still has to take out of the segments, by folder.
FORGOTTEN = {str(path.parent): path.read_bytes() for path in Path(archive).glob("*/forgotten.json")}
ROW = pa.struct(list(TABLES["completions"].columns.remove_metadata()))


@daft.func.batch(return_dtype=daft.DataType.from_arrow_type(pa.list_(ROW)))
def flattened(paths: daft.Series, contents: daft.Series) -> daft.Series:
    """Return the rows of each segment; a batch of segments comes as two columns."""
    rows = []
    for path, content in zip(paths.to_pylist(), contents.to_pylist(), strict=True):
        forgotten = FORGOTTEN.get(str(Path(path.removeprefix("file://")).parent))
        batch = flatten_segment(content, forgotten=forgotten, path=path)
        rows.append(batch.tables["completions"].replace_schema_metadata().to_struct_array().combine_chunks().cast(ROW))
    offsets = [0]
    for part in rows:
        offsets.append(offsets[-1] + len(part))
    return daft.Series.from_arrow(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.concat_arrays(rows)))


segments = daft.from_glob_path(f"{archive}/*/*.parquet").select("path")
rows = segments.select(flattened(daft.col("path"), daft.col("path").download()).alias("row")).explode("row")
rows = rows.where(daft.col("row").not_null()).select(daft.col("row").unnest())
completion = daft.Window().partition_by("source", "id")
rows = rows.with_column("last", daft.col("segment").max().over(completion))
rows.where(daft.col("segment") == daft.col("last")).exclude("last").write_parquet(out)

# Python is not ended in the usual way: a thread of Daft that still lets go of a batch could abort it there, and a job
# whose files are all written would be called failed.
sys.stdout.flush()
os._exit(0)
