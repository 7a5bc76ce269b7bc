#!/bin/sh
# Checks Spark on the running cluster, from the first master: all workers are there, a JVM job and a Python job give right
# results, the secret is kept, and the archives are in use.
set -eu

home=/opt/spark

set -- $KILN_WORKERS
workers=$(($# * KILN_PARAM_WORKER_INSTANCES))
python3 tools/wait.py 60 "http://$KILN_MASTER:8080/json/" "\"aliveworkers\" : $workers"
echo "spark: $workers workers are alive"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
# run NAME ARGUMENTS…: submits a job; its result goes to standard output, its log is shown only when it fails.
run() {
    name=$1
    shift
    "$home/kiln/submit" "$@" 2> "$work/log" || { tail -n 30 "$work/log" >&2; echo "spark: $name failed" >&2; exit 1; }
}

# An estimate of 400,000 darts is within 0.02 of pi in all but one of 10^13 runs.
pi=$(run SparkPi --class org.apache.spark.examples.SparkPi "$home/examples/jars/spark-examples.jar" 4)
case $pi in
    *"Pi is roughly 3.1"[2-6]*) echo "spark: $pi" ;;
    *) echo "spark: SparkPi printed: $pi" >&2; exit 1 ;;
esac

# Executors must run Python workers, too.
cat > "$work/job.py" <<'PYTHON'
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("kiln test").getOrCreate()
print("sum", spark.sparkContext.parallelize(range(1000), 4).map(lambda n: n * n).sum())
print("rows", spark.range(100).filter("id % 3 = 0").count())
spark.stop()
PYTHON
out=$(run "the Python job" "$work/job.py")
[ "$out" = "sum 332833500
rows 34" ] || { echo "spark: the Python job printed: $out" >&2; exit 1; }
echo "spark: the Python job is right"

grep -q '^spark.authenticate true' "$home/conf/spark-defaults.conf"
for name in spark-defaults.conf cluster.args; do
    mode=$(stat -c '%a %U' "$home/conf/$name")
    [ "$mode" = "600 spark" ] || { echo "spark: $name holds the secret and is '$mode'" >&2; exit 1; }
done

# Archives that do not fit are silently left out by the JVM: ask it to insist.
if [ -e "$home/kiln/app.jsa" ]; then
    for name in app:spark daemon:daemon; do
        /usr/lib/jvm/kiln/bin/java -Xshare:on -XX:SharedArchiveFile="$home/kiln/${name%:*}.jsa" -cp "$home/kiln/${name#*:}.jar" \
            org.apache.spark.launcher.Main 2>&1 | grep -q 'Not enough arguments' ||
            { echo "spark: the class-data archive ${name%:*}.jsa does not fit the class path" >&2; exit 1; }
    done
    echo "spark: class-data archives are used"
fi
