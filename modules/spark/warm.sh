#!/bin/sh
# Makes class-data archives: files that the JVM maps instead of reading, parsing and checking thousands of classes.
# Two archives: `daemon` (master, worker) and `app` (all else), since the two have different class paths. They are dumped with the image's
# own Java; another one would refuse them.
#
# Which classes those are is written in classes/VERSION-javaN/ for the versions that kiln's tests use: so that an image is the same bytes
# wherever it is baked (which classes a job loads depends on how its threads happen to run), and sooner. For other versions it is found by
# doing the real thing once: a cluster on the loopback interface, with a JVM job, a Python job, a Connect server and a history server.
# tools/update-class-lists does that for the written ones.
#
# An archive also remembers the jars' times, so this runs after times were set to SOURCE_DATE_EPOCH.
set -eu

home=/opt/spark
kiln=$home/kiln
work=$(mktemp -d)
mkdir "$work/conf" "$work/lists" "$work/data"
pids=
finish() {
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    wait
}
trap 'status=$?; finish; [ $status = 0 ] || tail -n 20 "$work"/*.log >&2; rm -rf "$work"' EXIT
rm -f "$kiln"/*.jsa

# --- which classes -----------------------------------------------------------------------------------------------------
# Runs a small cluster on localhost, and jobs on it, and writes the lists $work/daemon.list and $work/app.list.
find_classes() {
    export SPARK_CONF_DIR="$work/conf" SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost
    export KILN_CLUSTER=warm KILN_NODE=localhost KILN_ADDRESS=127.0.0.1 KILN_MASTERS=localhost KILN_INSTANCE=1 KILN_CPUS=2 KILN_MEMORY_MB=3072
    # Not a secret: it lives as long as this script, in a sandbox without network.
    echo 0123456789abcdef0123456789abcdef > "$work/secret"
    export KILN_SECRET_FILE="$work/secret" KILN_PARAM_CONF='' KILN_PARAM_EVENTS=true
    sh -eu ./setup.sh
    cat "$home"/licenses/* > "$work/data/text"
    chown -R 7077:7077 "$work"
    as_spark() { setpriv --reuid 7077 --regid 7077 --clear-groups env HOME="$work" "$@"; }

    # Each role writes a list of its own: the name has no place for a process number that every Java version knows.
    list() { echo "-Xshare:off -XX:DumpLoadedClassList=$work/lists/$1"; }

    SPARK_DAEMON_JAVA_OPTS=$(list master) as_spark "$kiln/daemon" master > "$work/master.log" 2>&1 &
    master=$!
    mkfifo "$work/gate"
    KILN_GATE="$work/gate" SPARK_DAEMON_JAVA_OPTS=$(list worker) as_spark "$kiln/daemon" worker > "$work/worker.log" 2>&1 &
    worker=$!
    pids="$master $worker"
    WAIT_PID=$master python3 tools/wait.py 120 http://localhost:8080/json/ '"ALIVE"'
    timeout 120 sh -c 'echo > "$1"' gate "$work/gate"  # unless the worker has ended already
    WAIT_PID=$worker python3 tools/wait.py 120 http://localhost:8081/json/ '"masterurl" : "spark:'

    # --- jobs ----------------------------------------------------------------------------------------------------------------
    # One after the other: each wants both cores of the only worker. Connect and history start beside the second.
    job() {
        name=$1
        shift
        as_spark "$kiln/submit" --conf "spark.driver.extraJavaOptions=$(list "driver-$name")" \
            --conf "spark.executor.extraJavaOptions=$(list "executor-$name")" "$@" > "$work/$name.log" 2>&1
    }
    job pi --class org.apache.spark.examples.SparkPi "$home/examples/jars/spark-examples.jar" 4
    # The history server writes its own classes down, too.
    SPARK_DAEMON_JAVA_OPTS=$(list history) as_spark "$kiln/daemon" history > "$work/history.log" 2>&1 &
    history=$!
    pids="$pids $history"
    job python tools/warm_job.py "$work/data"
    set -- "$home"/jars/spark-connect_*.jar
    if [ -e "$1" ]; then
        SPARK_SUBMIT_OPTS=$(list driver-connect) as_spark "$kiln/daemon" connect > "$work/connect.log" 2>&1 &
        connect=$!
        pids="$pids $connect"
        WAIT_PID=$connect python3 tools/wait.py 120 15002
    fi
    WAIT_PID=$history python3 tools/wait.py 120 http://localhost:18080/api/v1/applications '"Spark Pi"'
    finish
    pids=

    # Sorted, so that the order in which threads happened to run does not show. Lines with `source:` are classes of loaders that
    # an archive cannot rebuild; generated proxies have no file to be loaded from.
    merge() { sed -e '/source:/d' -e '/\$Proxy/d' -e 's/ id: [0-9]*$//' "$@" | LC_ALL=C sort -u; }
    (
        cd "$work/lists"
        merge master worker > "$work/daemon.list"
        merge driver-* executor-* history > "$work/app.list"
    )
    # For tools/update-class-lists.
    gzip -9n < "$work/daemon.list" > "$kiln/daemon.classes.gz"
    gzip -9n < "$work/app.list" > "$kiln/app.classes.gz"
    # What the cluster left behind.
    rm -rf /var/lib/spark/work/* /var/lib/spark/local/* /var/lib/spark/events/* /var/lib/spark/warehouse/*
}
java_version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' /usr/lib/jvm/kiln/release)
# Not the parameter: a source tree has a version of its own.
spark_version=$(sed -n '1s/^Spark \([^ ,]*\).*/\1/p' "$home/RELEASE")
written=classes/$spark_version-java$java_version
if [ -d "$written" ]; then
    gzip -dc "$written/daemon.gz" > "$work/daemon.list"
    gzip -dc "$written/app.gz" > "$work/app.list"
else
    find_classes
fi

# --- dump ------------------------------------------------------------------------------------------------------------------
dump() {
    # G1, because only it writes the heap part of an archive, which every collector can then read. One thread of it, a heap that does not
    # grow and nothing that ages: else the objects in the archive tell how often it was collected while they were made.
    /usr/lib/jvm/kiln/bin/java -Xshare:dump -XX:+UseG1GC -Xms1g -Xmx1g -XX:ParallelGCThreads=1 -XX:MaxTenuringThreshold=0 \
        -XX:SharedClassListFile="$work/$1.list" \
        -XX:SharedArchiveFile="$kiln/$1.jsa" -cp "$2" > "$work/dump-$1.log" 2>&1
    chmod 644 "$kiln/$1.jsa"
}
cd "$work"
dump daemon "$kiln/daemon.jar" &
daemon=$!
dump app "$kiln/spark.jar"
wait "$daemon"
