#!/bin/sh
# Writes Spark's configuration files for this node. It is part of every launch, so nothing here starts a program (but for
# those who bring a hive-site.xml): shell built-ins only. init.sh made the files, with owner and mode; writing into them keeps both.
set -eu

conf=${SPARK_CONF_DIR:-/opt/spark/conf}
kiln=/opt/spark/kiln
state=/var/lib/spark

# --- memory, in MiB --------------------------------------------------------------------------------------------------
# What the system, the daemon (KILN_PARAM_DAEMON_MEMORY is its limit; it uses 200) and the Python side of jobs need first.
# Each worker beyond the first is one more daemon, and gets its part of the rest.
instances=$KILN_PARAM_WORKER_INSTANCES
case $instances in '' | 0* | *[!0-9]*) echo "worker_instances must be a number from 1, found '$instances'" >&2; exit 1 ;; esac
usable=$(((KILN_MEMORY_MB - 384 - KILN_MEMORY_MB / 10 - 200 * (instances - 1)) / instances))
# Spark refuses heaps under 450 MiB, so 512 is the least even where a node is smaller: heaps are promises, not use.
driver=$((usable / 4))
[ "$driver" -ge 512 ] || driver=512
[ "$driver" -le 2048 ] || driver=2048
executor=$((usable - driver))
[ "$executor" -ge 512 ] || executor=512
# Room for one executor and one driver: with --deploy-mode cluster a worker runs the driver too, and a job whose
# executors fit nowhere would wait for ever.
worker=$((executor + driver))

# What a worker is limited to limits an executor: a larger one would fit nowhere.
case $KILN_PARAM_WORKER_MEMORY in
    *[gG]) limit=$((${KILN_PARAM_WORKER_MEMORY%?} * 1024)) ;;
    *[mM]) limit=${KILN_PARAM_WORKER_MEMORY%?} ;;
    *) limit=$executor ;;
esac
# A container by itself knows nothing of other workers: Spark's own default, 1 GiB, fits where people expect it to.
[ -n "$KILN_CLUSTER" ] || [ "$limit" -le 1024 ] || limit=1024
[ "$executor" -le "$limit" ] || executor=$limit

auto() { if [ "$1" = auto ]; then value=$2; else value=$1; fi; }
share=$((KILN_CPUS / instances))
[ "$share" -ge 1 ] || share=1
auto "$KILN_PARAM_WORKER_CORES" "$share"; cores=$value
auto "$KILN_PARAM_WORKER_MEMORY" "${worker}m"; worker=$value
auto "$KILN_PARAM_EXECUTOR_MEMORY" "${executor}m"; executor=$value
auto "$KILN_PARAM_DRIVER_MEMORY" "${driver}m"; driver=$value

url=
for master in $KILN_MASTERS; do url=${url:+$url,}$master:7077; done
url=${KILN_PARAM_MASTERS:-spark://$url}

# --- high availability -------------------------------------------------------------------------------------------------
# A name alone is the name of the server, too: so those who set only ZOOKEEPER_STACK_NAME know it.
zookeeper=${KILN_PARAM_ZOOKEEPER:-$KILN_PARAM_ZOOKEEPER_NAME}
case $zookeeper in '' | *:*) ;; *) zookeeper=$zookeeper:2181 ;; esac
case $zookeeper in
    *[!][A-Za-z0-9_.:,-]*) echo "ZooKeeper's servers must be HOST:PORT[,HOST:PORT...], found '$zookeeper'" >&2; exit 1 ;;
esac
case $url in
    *[!][A-Za-z0-9_.:,/-]*) echo "masters must be spark://HOST:PORT[,HOST:PORT...], found '$url'" >&2; exit 1 ;;
esac
recovery=
if [ -n "$zookeeper" ]; then
    name=${KILN_PARAM_ZOOKEEPER_NAME:-${KILN_CLUSTER:-spark}}
    case $name in *[!A-Za-z0-9_.-]*) name=spark ;; esac
    recovery="-Dspark.deploy.recoveryMode=ZOOKEEPER -Dspark.deploy.zookeeper.url=$zookeeper"
    recovery="$recovery -Dspark.deploy.zookeeper.dir=/spark/$name"
fi
# The daemon takes them apart at blanks: there is nothing that quotes would do.
case $KILN_PARAM_MASTER_OPTS in *[\'\"\`\\]* | *'
'*) echo "master_opts is one line of Java options without quotes, found: $KILN_PARAM_MASTER_OPTS" >&2; exit 1 ;; esac
master_opts="$recovery${KILN_PARAM_MASTER_OPTS:+${recovery:+ }$KILN_PARAM_MASTER_OPTS}"
[ -z "$master_opts" ] || master_opts="export SPARK_MASTER_OPTS='$master_opts '\"\${SPARK_MASTER_OPTS-}\""

# --- disks of the machine's own ------------------------------------------------------------------------------------------
# What is written while a job runs goes to all of them, and nothing of it to the root (module machine mounts them).
local_dirs=
work=$state/work
if [ -n "$KILN_CLUSTER" ] && [ -r /proc/self/mounts ]; then
    while read -r _ where _; do
        case $where in
            /mnt/ephemeral[0-9]*) local_dirs=$where/spark/local${local_dirs:+,$local_dirs} ;;
            /mnt/volume[0-9]*) local_dirs=${local_dirs:+$local_dirs,}$where/spark/local ;;
        esac
    done < /proc/self/mounts
fi
if [ -n "$local_dirs" ]; then
    first=${local_dirs%%,*}
    work=${first%/local}/work
    saved=$IFS
    IFS=,
    for folder in $local_dirs; do install -d -o spark -g spark -m 750 "${folder%/local}" "$folder"; done
    IFS=$saved
    install -d -o spark -g spark -m 750 "$work"
fi

# --- spark-env.sh ----------------------------------------------------------------------------------------------------
# No SPARK_LOCAL_HOSTNAME here: a driver in cluster mode takes the submitter's environment along to another node.
cat_env() {
    printf '%s\n' \
        "# Written by kiln at every start of the node." \
        "export JAVA_HOME=/usr/lib/jvm/kiln" \
        "export SPARK_MASTER_URL=$url" \
        "export SPARK_WORKER_CORES=$cores" \
        "export SPARK_WORKER_MEMORY=$worker" \
        "export SPARK_WORKER_DIR=$work" \
        "export SPARK_LOCAL_DIRS=${local_dirs:-$state/local}" \
        "export SPARK_DAEMON_MEMORY=$KILN_PARAM_DAEMON_MEMORY" \
        "$master_opts" \
        "export PYSPARK_PYTHON=python3"
}
cat_env > "$conf/spark-env.sh"

# --- spark-defaults.conf -----------------------------------------------------------------------------------------------
# A container by itself shares no secret with others, unless its user gives them one.
secret=$KILN_PARAM_SECRET
if [ -z "$secret" ] && [ -n "${KILN_SECRET_FILE-}" ]; then read -r secret < "$KILN_SECRET_FILE"; fi
case $secret in *[!A-Za-z0-9_.+/=-]*) echo "the secret may have letters, digits and _ . + / = - only" >&2; exit 1 ;; esac
# With --deploy-mode cluster a worker starts the driver and takes the secret out of its options, yet the driver insists on
# finding it there. A file of Java options, the same on every node, brings it back without showing
# it in a process list. (Its name has no "secret" in it, or Spark would blot out the whole setting wherever it shows it.)
echo "${secret:+-Dspark.authenticate.secret=$secret}" > "$conf/cluster.args"
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
# An executor that leaves looks this often for blocks to hand on, and goes after a look that found none: the third, where tasks still ran at
# the first. With Spark's own 30 s that is half of the time that a spot notice gives.
{
    printf '%s\n' \
        "# Written by kiln at every start of the node. It holds the cluster's secret: for the user spark only." \
        "spark.master $url" \
        "spark.driver.memory $driver" \
        "spark.executor.memory $executor" \
        "spark.master.rest.enabled false" \
        "spark.ui.reverseProxy true" \
        "spark.worker.cleanup.enabled true" \
        "spark.decommission.enabled true" \
        "spark.storage.decommission.enabled true" \
        "spark.storage.decommission.rddBlocks.enabled true" \
        "spark.storage.decommission.shuffleBlocks.enabled true" \
        "spark.storage.decommission.replicationReattemptInterval 5s" \
        "spark.eventLog.enabled $KILN_PARAM_EVENTS" \
        "spark.eventLog.dir file:$state/events" \
        "spark.history.fs.logDirectory file:$state/events" \
        "spark.sql.warehouse.dir file:$state/warehouse"
    printf '%s\n' \
        "spark.driver.defaultJavaOptions ${java# }" \
        "spark.driver.extraJavaOptions @$conf/cluster.args" \
        "spark.executor.defaultJavaOptions ${java# }"
    [ -z "$secret" ] || printf '%s\n' \
        "spark.authenticate true" \
        "spark.authenticate.secret $secret" \
        "spark.network.crypto.enabled true"
    # Where nodes go by their addresses a driver must say its own: no other machine knows the host's name.
    [ "$KILN_NODE" != "$KILN_ADDRESS" ] || echo "spark.driver.host $KILN_ADDRESS"
    # Without archives (a module installed at launch) the class path stays Spark's own.
    [ ! -e "$kiln/app.jsa" ] || printf '%s\n' \
        "spark.driver.extraClassPath $kiln/spark.jar" \
        "spark.executor.extraClassPath $kiln/spark.jar"
    [ -z "$KILN_PARAM_CONF" ] || printf '%s\n' "$KILN_PARAM_CONF"
} > "$conf/spark-defaults.conf"

# --- hive-site.xml ------------------------------------------------------------------------------------------------------
if [ -n "$KILN_PARAM_HIVE_SITE" ]; then
    python3 "$KILN_MODULE_DIR/files/fetch-hive-site" "$conf/hive-site.xml"
fi
