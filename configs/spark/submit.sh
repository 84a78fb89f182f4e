#!/bin/sh
# The tables of an archive, made on a cluster:
#     MASTER=yarn PACKED=packed.tar.gz sh submit.sh s3a://bucket/data/archive s3a://bucket/tables
#     pipeline archive list s3://bucket/pushed > segments; MASTER=… sh submit.sh @segments s3a://bucket/tables
# The first is the folder `archive` of a data folder, or @ and a file that names its segments; the second a new folder.
# --format delta and --logprobs may follow.
#
# MASTER    local[2], spark://host:7077, yarn, or k8s://https://host:443
# PACKED    for machines without the package: an environment of their Python and system with this checkout and the extra
#           spark in it, packed by `venv-pack -o packed.tar.gz`. Without it their own Python must have both.
# IMAGE     for Kubernetes, in the place of PACKED: an image of Spark 4 with Python, `pip install '.[spark]'` run in it
# SETTINGS  a properties file for everything else: memory, cores, jars (hadoop-aws and spark-hadoop-cloud for s3a, Delta)
#
# Keys of an object store stay in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), where
# Spark finds them. `archive list` says s3://, which Hadoop's own jar calls s3a://: the settings below make them one.
set -eu
here=$(dirname "$0")
set -- "$here/flatten.py" "$@"
[ -z "${IMAGE:-}" ] || set -- --conf "spark.kubernetes.container.image=$IMAGE" "$@"
[ -z "${SETTINGS:-}" ] || set -- --properties-file "$SETTINGS" "$@"
if [ -n "${PACKED:-}" ]; then
    set -- --archives "$PACKED#packed" --conf spark.executorEnv.PYSPARK_PYTHON=packed/bin/python \
        --conf spark.pyspark.python=packed/bin/python --conf "spark.pyspark.driver.python=${PYSPARK_DRIVER_PYTHON:-python3}" "$@"
fi
exec spark-submit --master "${MASTER:-local[2]}" \
    --conf spark.hadoop.fs.s3.impl=org.apache.hadoop.fs.s3a.S3AFileSystem "$@"
