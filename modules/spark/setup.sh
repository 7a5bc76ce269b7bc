#!/bin/sh
# Writes Spark's configuration files for this node. It is part of every launch, so nothing here starts a program:
# shell built-ins only. init.sh made the files, with owner and mode; writing into them keeps both.
set -eu

conf=${SPARK_CONF_DIR:-/opt/spark/conf}
kiln=/opt/spark/kiln
state=/var/lib/spark

# --- memory, in MiB --------------------------------------------------------------------------------------------------
# What the system, the daemon (KILN_PARAM_DAEMON_MEMORY is its limit; it uses 200) and the Python side of jobs need first.
usable=$((KILN_MEMORY_MB - 384 - KILN_MEMORY_MB / 10))
# Spark refuses heaps under 450 MiB, so 512 is the least even where a node is smaller: heaps are promises, not use.
driver=$((usable / 4))
[ "$driver" -ge 512 ] || driver=512
[ "$driver" -le 2048 ] || driver=2048
executor=$((usable - driver))
[ "$executor" -ge 512 ] || executor=512
# Room for one executor and one driver: with --deploy-mode cluster a worker runs the driver too, and a job whose
# executors fit nowhere would wait for ever.
worker=$((executor + driver))

auto() { if [ "$1" = auto ]; then value=$2; else value=$1; fi; }
auto "$KILN_PARAM_WORKER_CORES" "$KILN_CPUS"; cores=$value
auto "$KILN_PARAM_WORKER_MEMORY" "${worker}m"; worker=$value
auto "$KILN_PARAM_EXECUTOR_MEMORY" "${executor}m"; executor=$value
auto "$KILN_PARAM_DRIVER_MEMORY" "${driver}m"; driver=$value

url=
for master in $KILN_MASTERS; do url=${url:+$url,}$master:7077; done
url=spark://$url

# --- spark-env.sh ----------------------------------------------------------------------------------------------------
# No SPARK_LOCAL_HOSTNAME here: a driver in cluster mode takes the submitter's environment along to another node.
cat_env() {
    printf '%s\n' \
        "# Written by kiln at every start of the node." \
        "export JAVA_HOME=/usr/lib/jvm/kiln" \
        "export SPARK_MASTER_URL=$url" \
        "export SPARK_WORKER_CORES=$cores" \
        "export SPARK_WORKER_MEMORY=$worker" \
        "export SPARK_WORKER_DIR=$state/work" \
        "export SPARK_LOCAL_DIRS=$state/local" \
        "export SPARK_DAEMON_MEMORY=$KILN_PARAM_DAEMON_MEMORY" \
        "export PYSPARK_PYTHON=python3"
}
cat_env > "$conf/spark-env.sh"

# --- spark-defaults.conf -----------------------------------------------------------------------------------------------
read -r secret < "$KILN_SECRET_FILE"
# With --deploy-mode cluster a worker starts the driver and takes the secret out of its options, yet the driver insists on
# finding it there. A file of Java options, the same on every node, brings it back without showing
# it in a process list. (Its name has no "secret" in it, or Spark would blot out the whole setting wherever it shows it.)
echo "-Dspark.authenticate.secret=$secret" > "$conf/cluster.args"
# Class-data archives: half of a JVM's start. They hold for exactly this class path, so both go together. They are given
# as default options, which Spark puts before a user's extraJavaOptions; a user's own extraClassPath merely switches them off.
# They are mapped where they were made for: see daemon.
java=
if [ -e "$kiln/app.jsa" ]; then
    java="-XX:SharedArchiveFile=$kiln/app.jsa -Xlog:disable -Xlog:all=error:stderr"
    java="$java -XX:+UnlockDiagnosticVMOptions -XX:ArchiveRelocationMode=0"
fi
# Both compilers as ever, but later: code has to run 3 times as often before C1, 10 times before C2. By the JVM's own figures
# they compile what a start runs and nothing runs again, for a third of a short job's processor time; real work
# passes these marks within a second. What runs once a task passes them after 50,000 tasks, though: `jit: stock` is for those
# who have so many. No collector is named: a user's choice of another would be an error then.
if [ "${KILN_PARAM_JIT:-late}" = late ]; then
    java="$java -XX:Tier3InvocationThreshold=600 -XX:Tier3MinInvocationThreshold=300 -XX:Tier3CompileThreshold=6000"
    java="$java -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000"
    java="$java -XX:Tier4BackEdgeThreshold=400000"
fi
# Netty 4.2 asks at its start whether anybody records its events, which sets up the whole flight recorder, 50 ms.
java="$java -Dio.netty.jfr.enabled=false"
{
    printf '%s\n' \
        "# Written by kiln at every start of the node. It holds the cluster's secret: for the user spark only." \
        "spark.master $url" \
        "spark.driver.memory $driver" \
        "spark.executor.memory $executor" \
        "spark.authenticate true" \
        "spark.authenticate.secret $secret" \
        "spark.network.crypto.enabled true" \
        "spark.master.rest.enabled false" \
        "spark.ui.reverseProxy true" \
        "spark.worker.cleanup.enabled true" \
        "spark.eventLog.enabled $KILN_PARAM_EVENTS" \
        "spark.eventLog.dir file:$state/events" \
        "spark.history.fs.logDirectory file:$state/events" \
        "spark.sql.warehouse.dir file:$state/warehouse"
    printf '%s\n' \
        "spark.driver.defaultJavaOptions ${java# }" \
        "spark.driver.extraJavaOptions @$conf/cluster.args" \
        "spark.executor.defaultJavaOptions ${java# }"
    # Without archives (a module installed at launch) the class path stays Spark's own.
    [ ! -e "$kiln/app.jsa" ] || printf '%s\n' \
        "spark.driver.extraClassPath $kiln/spark.jar" \
        "spark.executor.extraClassPath $kiln/spark.jar"
    [ -z "$KILN_PARAM_CONF" ] || printf '%s\n' "$KILN_PARAM_CONF"
} > "$conf/spark-defaults.conf"
