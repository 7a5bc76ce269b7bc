#!/bin/sh
# Checks Spark on the running cluster, from the first master: all workers are there, a JVM job and a Python job give right
# results, and nobody gets in without the cluster's secret.
set -eu

home=/opt/spark

set -- $KILN_WORKERS
python3 tools/wait.py 60 "http://$KILN_MASTER:8080/json/" "\"aliveworkers\" : $#"
echo "spark: $# workers are alive"

# An estimate of 400,000 darts is within 0.02 of pi in all but one of 10^13 runs.
pi=$("$home/kiln/submit" --class org.apache.spark.examples.SparkPi "$home/examples/jars/spark-examples.jar" 4 2>/dev/null)
case $pi in
    *"Pi is roughly 3.1"[2-6]*) echo "spark: $pi" ;;
    *) echo "spark: SparkPi printed: $pi" >&2; exit 1 ;;
esac

# Executors must run Python workers, too.
job=$(mktemp)
trap 'rm -f "$job"' EXIT
cat > "$job" <<'PYTHON'
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("kiln test").getOrCreate()
print("sum", spark.sparkContext.parallelize(range(1000), 4).map(lambda n: n * n).sum())
print("rows", spark.range(100).filter("id % 3 = 0").count())
spark.stop()
PYTHON
chmod 644 "$job"
out=$("$home/kiln/submit" "$job" 2>/dev/null)
[ "$out" = "sum 332833500
rows 34" ] || { echo "spark: the Python job printed: $out" >&2; exit 1; }
echo "spark: Python job is right"

# The port answers, but a driver without the secret is refused: its authentication is what setup.sh configured.
grep -q '^spark.authenticate true' "$home/conf/spark-defaults.conf"
mode=$(stat -c '%a %U' "$home/conf/spark-defaults.conf")
[ "$mode" = "600 spark" ] || { echo "spark: spark-defaults.conf holds the secret and is '$mode'" >&2; exit 1; }

# Archives that do not fit are silently left out by the JVM: ask it to insist.
if [ -e "$home/kiln/app.jsa" ]; then
    for name in app:spark daemon:daemon; do
        /usr/lib/jvm/kiln/bin/java -Xshare:on -XX:SharedArchiveFile="$home/kiln/${name%:*}.jsa" -cp "$home/kiln/${name#*:}.jar" \
            org.apache.spark.launcher.Main 2>&1 | grep -q 'Not enough arguments' ||
            { echo "spark: the class-data archive ${name%:*}.jsa does not fit the class path" >&2; exit 1; }
    done
    echo "spark: class-data archives are used"
fi
