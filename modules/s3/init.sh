#!/bin/sh
# Puts the jars beside Spark's own, where drivers and executors find them, and the command `s3`.
set -eu

home=/opt/spark
[ -e "$home/jars/hadoop-client-api-$KILN_PARAM_VERSION.jar" ] || {
    set -- "$home"/jars/hadoop-client-api-*.jar
    found=${1##*-api-}
    echo "s3: this Spark brings Hadoop ${found%.jar}, and version is $KILN_PARAM_VERSION: S3A must be of the same Hadoop" >&2
    exit 1
}
[ -e "$home/jars/spark-core_2.13-$KILN_PARAM_SPARK_VERSION.jar" ] || {
    set -- "$home"/jars/spark-core_*.jar
    found=${1##*/spark-core_}
    echo "s3: this is Spark ${found%.jar} (Scala's version first), and spark_version is $KILN_PARAM_SPARK_VERSION: they must be the same" >&2
    exit 1
}
for jar in "$KILN_SOURCE_JARS"/*.jar; do install -m 644 "$jar" "$home/jars/${jar##*/}"; done

# The jar that stands for all, made again with ours: the history server has no other class path. On a running cluster's file system the
# class-data archives were made with the old one, and drivers and executors look into the folder too.
LC_ALL=C
if [ "$KILN_STAGE" = bake ]; then
    set -- "$home"/jars/*.jar
    python3 "$home/kiln/jars.py" classpath "$home/kiln/spark.jar" "$@"
fi

mkdir -p "$home/s3/conf"
install -m 755 files/s3 "$home/s3/s3"
ln -s "$home/s3/s3" /usr/local/bin/s3
