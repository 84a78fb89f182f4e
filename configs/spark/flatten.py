"""Make the tables of an archive on Spark: ``spark-submit flatten.py ARCHIVE OUT [--format delta] [--logprobs]``.

ARCHIVE is the folder ``archive`` of a data folder, OUT a new folder; both as the cluster names them, such as s3a://….
"""

import argparse

from pyspark.sql import SparkSession

from pipeline.spark import flatten

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("archive")
parser.add_argument("out")
parser.add_argument("--format", default="parquet")
parser.add_argument("--logprobs", action="store_true")
asked = parser.parse_args()

spark = SparkSession.builder.appName("stored completions").getOrCreate()
try:
    flatten(spark, asked.archive, asked.out, format=asked.format, logprobs=asked.logprobs)
finally:
    spark.stop()
