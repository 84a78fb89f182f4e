"""Make the tables of an archive on Spark: ``spark-submit flatten.py ARCHIVE OUT [--format delta] [--logprobs]``.

ARCHIVE is the folder ``archive`` of a data folder, or ``-`` for the URLs of segments on stdin, one to a line, as
``pipeline archive list`` prints them. OUT is a new folder. Both are named as the cluster names them, such as s3a://….
"""

import argparse
import sys

from pyspark.sql import SparkSession

from pipeline.spark import flatten

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("archive")
parser.add_argument("out")
parser.add_argument("--format", default="parquet")
parser.add_argument("--logprobs", action="store_true")
asked = parser.parse_args()
archive = sys.stdin.read().split() if asked.archive == "-" else asked.archive

spark = SparkSession.builder.appName("stored completions").getOrCreate()
try:
    flatten(spark, archive, asked.out, format=asked.format, logprobs=asked.logprobs)
finally:
    spark.stop()
