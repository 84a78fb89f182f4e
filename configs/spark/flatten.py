"""Make the tables of an archive on Spark: ``spark-submit flatten.py ARCHIVE OUT [--format delta] [--logprobs]``.

ARCHIVE is the folder ``archive`` of a data folder, or ``@FILE`` for a file that names every segment, one to a line, as
``pipeline archive list`` prints them; FILE lies where the driver runs, for stdin is kept by spark-submit. OUT is a new
folder. Both are named as the cluster names them, such as s3a://….
"""

import argparse
from pathlib import Path

from pyspark.sql import SparkSession

from pipeline.spark import flatten

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("archive")
parser.add_argument("out")
parser.add_argument("--format", default="parquet")
parser.add_argument("--logprobs", action="store_true")
asked = parser.parse_args()
is_list = asked.archive.startswith("@")
archive = Path(asked.archive[1:]).read_text().splitlines() if is_list else asked.archive

spark = SparkSession.builder.appName("stored completions").getOrCreate()
try:
    flatten(spark, archive, asked.out, format=asked.format, logprobs=asked.logprobs)
finally:
    spark.stop()
