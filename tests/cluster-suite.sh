# What users do with clusters on this machine; sourced by 60-cluster.test (root) and 61-rootless.test (an ordinary user).
# Wants $kiln and KILN_HOME; sets nothing up that it does not take down.
# shellcheck shell=sh
name=suite-$$
text=/usr/share/common-licenses/GPL-3
examples=$source_tree/examples

# What must not have grown afterwards: mounts, network devices and namespaces, processes of kiln's, control groups, cluster folders.
traces() {
  {
    sed 's/^/mount /' /proc/self/mountinfo
    ip -o link | sed 's/^[0-9]*: /link /; s/@.*//'
    ip netns list 2>/dev/null | sed 's/^/netns /'
    "$source_tree/tests/kiln_processes.py" "$KILN_HOME"
    find /sys/fs/cgroup -type d -path '*/kiln/*' 2>/dev/null
    find "$KILN_HOME/clusters" -mindepth 1 -maxdepth 1 -type d 2>/dev/null
  } | LC_ALL=C sort
}

bakes() { "$kiln" bake spark; }
bakes_nothing_again() {
  "$kiln" bake spark --json > "$scratch/bake.json"
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(r["changed"] or not all(l["reused"] for l in r["layers"]))' "$scratch/bake.json"
}
launches() {
  traces > "$scratch/traces.before"
  "$kiln" launch "$name" --workers 2 > "$scratch/launch"
  grep -q 'spark.master ready' "$scratch/launch"
  [ "$(grep -c 'spark.worker ready' "$scratch/launch")" = 2 ]
  grep -q '(total)$' "$scratch/launch"
}
lists() { "$kiln" list | grep -E "^$name +local +running +spark +1\+2"; }
modules_pass_their_tests() {
  "$kiln" module test "$name" > "$scratch/tested"
  cat "$scratch/tested"
  grep -E '^spark +passed' "$scratch/tested"
  expect_failure 2 "did you mean 'spark'?" "$kiln" module test "$name" sprk
  expect_failure 2 "module 'packages' has no test.sh" "$kiln" module test "$name" packages
}
# Credentials without a region, as many have them: clusters of this machine are nobody's business but its own.
needs_no_cloud() {
  AWS_ACCESS_KEY_ID=nobody AWS_SECRET_ACCESS_KEY=nothing AWS_CONFIG_FILE=/dev/null "$kiln" status "$name" > "$scratch/said" 2>&1
  refute grep -i aws "$scratch/said"
  AWS_ACCESS_KEY_ID=nobody AWS_SECRET_ACCESS_KEY=nothing AWS_CONFIG_FILE=/dev/null "$kiln" exec "$name" -- hostname | grep -qx master-1
}
status_is_healthy() {
  "$kiln" status "$name"
  "$kiln" status "$name" --json > "$scratch/status.json"
  python3 - "$scratch/status.json" <<'PY'
import json, sys
status = json.load(open(sys.argv[1]))
assert status["healthy"], status
assert len(status["nodes"]) == 3
for node in status["nodes"]:
    assert node["state"] == "up", node
    assert node["services"], node
PY
}
workers_have_registered() {
  "$kiln" exec "$name" -- python3 -c 'import json, urllib.request
state = json.load(urllib.request.urlopen("http://master-1:8080/json/"))
assert state["aliveworkers"] == 2, state
assert state["status"] == "ALIVE", state'
}
nodes_are_separate() {
  "$kiln" exec "$name" --all -- hostname > "$scratch/names"
  grep -qx 'master-1 | master-1' "$scratch/names"
  grep -qx 'worker-2 | worker-2' "$scratch/names"
  # its own root, its own processes, its own address
  "$kiln" exec "$name" --node worker-1 -- sh -c 'echo mine > /root/mark; cat /proc/1/comm' | grep -q kiln-node
  expect_failure 1 'No such file' "$kiln" exec "$name" --node worker-2 -- cat /root/mark
  [ "$("$kiln" exec "$name" --all -- hostname -i | sed 's/.*| //' | sort -u | wc -l)" = 3 ]
}
exec_gives_the_worst_code() {
  code=0
  "$kiln" exec "$name" --all -- sh -c '[ "$(hostname)" != worker-2 ] || exit 7' || code=$?
  [ "$code" = 7 ]
}
exec_passes_input() { [ "$(echo hello | "$kiln" exec "$name" -- tr a-z A-Z)" = HELLO ]; }
copies() {
  mkdir -p "$scratch/folder/sub" && echo data > "$scratch/folder/sub/file"
  "$kiln" cp "$name" "$scratch/folder" :/tmp/copied --all
  "$kiln" exec "$name" --all -- cat /tmp/copied/folder/sub/file | grep -c '| data$' | grep -qx 3
  mkdir -p "$scratch/back"
  "$kiln" cp "$name" worker-2:/tmp/copied/folder "$scratch/back"
  diff -r "$scratch/folder" "$scratch/back/folder"
}
pi_by_jar() {
  "$kiln" submit "$name" --class org.apache.spark.examples.JavaSparkPi local:/opt/spark/examples/jars/spark-examples.jar 10 | grep 'Pi is roughly 3.1'
}
word_count_is_right() {
  "$kiln" cp "$name" "$text" :/data --all
  "$kiln" submit "$name" --quick "$@" "$examples/wordcount.py" "file:///data/${text##*/}" > "$scratch/counts"
  grep -E '^[0-9]+ [^ ]+$' "$scratch/counts" | LC_ALL=C sort > "$scratch/spark"
  tr -s '[:space:]' '\n' < "$text" | sed '/^$/d' | LC_ALL=C sort | uniq -c | sed 's/^ *//' | LC_ALL=C sort > "$scratch/shell"
  [ "$(wc -l < "$scratch/shell")" -gt 500 ]
  diff "$scratch/spark" "$scratch/shell"
}
word_count_on_a_worker() { word_count_is_right --deploy-mode cluster; }
jobs_use_both_workers() {
  cat > "$scratch/hosts.py" <<'PY'
import socket, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.sparkContext._jsc.sc().getExecutorMemoryStatus()
deadline = time.time() + 60
hosts = set()
while len(hosts) < 2 and time.time() < deadline:
    hosts |= set(spark.sparkContext.parallelize(range(8), 8).map(lambda _: socket.gethostname()).collect())
print("HOSTS", *sorted(hosts))
PY
  "$kiln" submit "$name" "$scratch/hosts.py" | grep 'HOSTS worker-1 worker-2'
}
exit_code_is_the_jobs() {
  mkdir -p "$scratch/app"
  echo 'import sys, helper; print(helper.word, sys.argv[1:]); sys.exit(5)' > "$scratch/app/main.py"
  echo 'word = "carried"' > "$scratch/app/helper.py"
  expect_failure 5 "carried ['--iterations', '3']" "$kiln" submit "$name" "$scratch/app" --iterations 3
}
py_files_and_conf() {
  mkdir -p "$scratch/lib/mylib" && echo 'def twice(x): return 2 * x' > "$scratch/lib/mylib/__init__.py"
  cat > "$scratch/uses.py" <<'PY'
import mylib
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("SUM", spark.sparkContext.parallelize(range(10)).map(mylib.twice).sum(), spark.conf.get("spark.my.word"))
PY
  "$kiln" submit "$name" --py-files "$scratch/lib" "$scratch/uses.py" -- --conf spark.my.word=yes | grep 'SUM 90 yes'
}
packages_from_maven() {
  # A Maven repository of our own, so that the case needs no network: --packages and --repositories go to Spark as they are.
  folder=$scratch/repository/org/example/hello/1.0
  mkdir -p "$folder"
  echo '<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId><artifactId>hello</artifactId><version>1.0</version></project>' > "$folder/hello-1.0.pom"
  (cd "$folder" && echo 'greeting=hello' > greeting.properties && python3 -m zipfile -c hello-1.0.jar greeting.properties)
  "$kiln" cp "$name" "$scratch/repository" :/data
  cat > "$scratch/packaged.py" <<'PY'
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
stream = spark._jvm.Thread.currentThread().getContextClassLoader().getResourceAsStream("greeting.properties")
print("PACKAGED", stream is not None, spark.conf.get("spark.jars"))
PY
  "$kiln" submit "$name" --packages org.example:hello:1.0 "$scratch/packaged.py" -- --repositories file:///data/repository | grep 'PACKAGED True.*hello-1.0.jar'
}
deploy_root_is_applied() {
  mkdir -p "$scratch/deploy"
  echo 'echo "$KILN_STAGE on $KILN_NODE" >> /root/stages' > "$scratch/deploy/setup.sh"
  echo 'echo "run on $KILN_NODE" > /root/ran' > "$scratch/deploy/run.sh"
  "$kiln" launch "$name-d" --workers 1 --deploy-root "$scratch/deploy" --no-timeline
  "$kiln" exec "$name-d" --all -- cat /root/stages > "$scratch/stages"
  cat "$scratch/stages"
  grep -q 'setup on master-1' "$scratch/stages"
  grep -q 'setup on worker-1' "$scratch/stages"
  "$kiln" exec "$name-d" -- cat /root/ran | grep -qx 'run on master-1'
  # One that joins later gets them too, even when the folder is gone here.
  mv "$scratch/deploy" "$scratch/deploy.elsewhere"
  "$kiln" resize "$name-d" --workers 2
  "$kiln" exec "$name-d" --node worker-2 -- cat /root/stages | grep 'setup on worker-2'
  mv "$scratch/deploy.elsewhere" "$scratch/deploy"
  "$kiln" destroy "$name-d"
  echo 'echo the reason; exit 3' > "$scratch/deploy/setup.sh"
  expect_failure 1 'the reason' "$kiln" launch "$name-d" --workers 1 --deploy-root "$scratch/deploy"
  "$kiln" list > "$scratch/list"
  refute grep -q "^$name-d" "$scratch/list"
}
modules_are_installed_at_launch() {
  mkdir -p "$scratch/modules/greeter"
  cat > "$scratch/modules/greeter/module.yaml" <<'YAML'
summary: says hello, by a package that the image lacks
params: {word: nobody}
packages: {debian: [hello]}
services:
  greeter:
    user: spark
    exec: sleep infinity
    ready: {exec: "test -s /opt/greeter/said"}
YAML
  cat > "$scratch/modules/greeter/init.sh" <<'SH'
mkdir -p /opt/greeter
echo "$KILN_STAGE $KILN_PARAM_WORD $(hello --greeting=hello)" > /opt/greeter/said
SH
  "$kiln" image show spark --json > "$scratch/image.before"
  set -- "$name-m" --workers 1 --modules "$scratch/modules" --with greeter --param greeter.word=you --no-timeline
  "$kiln" launch "$@"
  "$kiln" exec "$name-m" --all -- cat /opt/greeter/said > "$scratch/said"
  cat "$scratch/said"
  [ "$(grep -c '| deploy you hello$' "$scratch/said")" = 2 ]
  "$kiln" status "$name-m" > "$scratch/status"
  grep 'image spark with greeter,' "$scratch/status"
  grep greeter.greeter "$scratch/status"
  "$kiln" resize "$name-m" --workers 2
  "$kiln" exec "$name-m" --node worker-2 -- cat /opt/greeter/said | grep 'deploy you'
  "$kiln" image show spark --json | diff "$scratch/image.before" -
  # gc leaves what the cluster stands on.
  "$kiln" image gc
  "$kiln" stop "$name-m" && "$kiln" start "$name-m"
  "$kiln" exec "$name-m" --node worker-1 -- cat /opt/greeter/said | grep 'deploy you'
  "$kiln" destroy "$name-m"
}
libraries_work_together() {
  cat > "$scratch/science.py" <<'PY'
import numpy, scipy.stats, pandas, pyarrow
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf
spark = SparkSession.builder.getOrCreate()
@pandas_udf("double")
def cdf(x: pandas.Series) -> pandas.Series:
    return pandas.Series(scipy.stats.norm.cdf(x))
total = spark.range(1000).selectExpr("cast((id - 499.5) / 100 as double) as x").select(cdf("x").alias("p")).groupBy().sum("p").first()[0]
print("TOTAL", round(total, 6))
PY
  "$kiln" submit "$name" "$scratch/science.py" | grep 'TOTAL 500.0'
}
shells_run_what_they_read() {
  echo 'print("SUM", sc.parallelize(range(100)).sum())' | "$kiln" shell "$name" pyspark 2>&1 | grep 'SUM 4950'
  echo 'select 40 + 2;' | "$kiln" shell "$name" spark-sql 2>/dev/null | grep -x 42
  echo 'echo in a shell' | "$kiln" shell "$name" | grep 'in a shell'
}
sql_runs() {
  [ "$("$kiln" sql "$name" -e 'select 40 + 2; select explode(sequence(1, 3))' 2> /dev/null | xargs)" = '42 1 2 3' ]
  printf 'create temporary view seven as select 7 as x;\n-- of which\nselect sum(x) * 6 from seven;\n' > "$scratch/report.sql"
  [ "$("$kiln" sql "$name" -f "$scratch/report.sql" -- --conf spark.sql.shuffle.partitions=2 2> "$scratch/sql.log")" = 42 ] || { tail -n 20 "$scratch/sql.log"; return 1; }
  # The first statement that fails is the last one, from a file as from a pipe.
  echo 'select 1; select nothing_like_that; select 2;' | expect_failure 1 nothing_like_that "$kiln" sql "$name"
  refute grep -qx 2 "$scratch/.said"
  expect_failure 2 "cannot open '$scratch/none.sql': No such file" "$kiln" sql "$name" -f "$scratch/none.sql"
  expect_failure 2 '-e and -f exclude each other' "$kiln" sql "$name" -e 'select 1' -f "$scratch/report.sql"
  expect_failure 1 'needs no SOCKS proxy: its nodes are on this machine' "$kiln" ui "$name" --socks
}
logs_have_the_services_words() {
  "$kiln" logs "$name" master-1 spark.master --lines 1000 | grep -q 'elected leader'
  "$kiln" logs "$name" | grep -q '^worker-1 '
}
ui_answers_from_the_host() {
  "$kiln" ui "$name"
  url=$("$kiln" ui "$name" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["url"])')
  python3 - "$url" <<'PY'
import sys, urllib.request
page = urllib.request.urlopen(sys.argv[1], timeout=20).read().decode()
assert "Spark Master at" in page, page[:300]
PY
  # a second call gives the same address
  [ "$("$kiln" ui "$name" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["url"])')" = "$url" ]
}
timeline_is_kept() {
  "$kiln" timeline "$name" | grep -q '(total)$'
  "$kiln" timeline "$name" --html "$scratch/timeline.html"
  grep -q '<title>' "$scratch/timeline.html"
  refute grep -qE 'src=|href=' "$scratch/timeline.html"
}
secrets_stay_secret() {
  secret=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get("secret", ""))' "$KILN_HOME/clusters/$name/cluster.json")
  [ ${#secret} = 64 ]
  [ "$(stat -c %a "$KILN_HOME/clusters/$name/cluster.json")" = 600 ]
  cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' > "$scratch/command-lines" || true
  grep -q kiln-node "$scratch/command-lines"
  refute grep -q "$secret" "$scratch/command-lines"
  expect_failure 1 'Permission denied' "$kiln" exec "$name" --user nobody -- cat /run/kiln/node.json
  # nobody may read Spark's secret either
  "$kiln" exec "$name" --user nobody -- sh -c '! grep -rsE "^spark.authenticate.secret[ =]" /opt/spark/conf'
}
unauthenticated_jobs_are_refused() {
  expect_failure 1 '' "$kiln" exec "$name" --user nobody -- timeout 60 /opt/spark/bin/spark-submit --master spark://master-1:7077 \
    --conf spark.authenticate=false --class org.apache.spark.examples.JavaSparkPi /opt/spark/examples/jars/spark-examples.jar 1 || [ -s "$scratch/.said" ]
  refute grep -q 'Pi is roughly' "$scratch/.said"
}
modules_test_themselves() {
  for module in java python spark; do
    "$kiln" exec "$name" -- sh -c "cd /usr/lib/kiln/modules/$module && [ -f test.sh ]"
  done
}
wrong_words_change_nothing() {
  "$kiln" status "$name" --json > "$scratch/status.before"
  wrong() { text=$1; shift; expect_failure 2 "$text" "$kiln" "$@"; }
  wrong '--role wrkr: expected master or worker' exec "$name" --role wrkr -- true
  wrong "did you mean 'worker-1'?" exec "$name" --node worker-9 -- true
  wrong '--all, --role and --node exclude each other' exec "$name" --node worker-1 --all -- true
  wrong '--deploy-mode clutser: expected client or cluster' submit "$name" --deploy-mode clutser local:/x
  wrong "cannot submit '/no/such.py': No such file" submit "$name" /no/such.py
  wrong '--py-files needs a value' submit "$name" "$examples/wordcount.py" -- --py-files
  wrong "cannot carry '/no/such.jar'" submit "$name" "$examples/wordcount.py" -- --jars /no/such.jar
  wrong "has no node 'worker-9'" logs "$name" worker-9
  wrong '--workers -1: a cluster has 0 to 5000 workers' resize "$name" --workers -1
  wrong "did you mean 'pyspark'?" shell "$name" pysparkk
  wrong "cannot carry '/no/such'" cp "$name" /no/such :/tmp
  wrong "neither 'a' nor 'b' is on a node" cp "$name" a b
  wrong "there is a cluster '$name' already" launch "$name"
  "$kiln" status "$name" --json > "$scratch/status.after"
  python3 - "$scratch/status.before" "$scratch/status.after" <<'PY'
import json, sys
before, after = (json.load(open(name)) for name in sys.argv[1:])
names = lambda status: [(node["name"], node["state"]) for node in status["nodes"]]
assert names(before) == names(after), (before, after)
PY
}
resizes() {
  "$kiln" resize "$name" --workers 3
  "$kiln" exec "$name" --all -- getent hosts worker-3 | grep -c worker-3 | grep -qx 4
  "$kiln" list | grep -E "^$name .*1\+3"
  "$kiln" resize "$name" --workers 1
  "$kiln" list | grep -E "^$name .*1\+1"
  "$kiln" exec "$name" -- sh -c '! getent hosts worker-3'
  "$kiln" resize "$name" --workers 2
}
stops_and_starts_with_its_disks() {
  "$kiln" exec "$name" --node worker-1 -- sh -c 'echo kept > /root/kept'
  "$kiln" stop "$name"
  "$kiln" list | grep -E "^$name +local +stopped"
  expect_failure 1 'stopped' "$kiln" submit "$name" "$examples/wordcount.py"
  "$kiln" stop "$name"
  "$kiln" start "$name"
  "$kiln" exec "$name" --node worker-1 -- cat /root/kept | grep -qx kept
  pi_by_jar
}
two_clusters_do_not_meet() {
  "$kiln" launch "$name-b" --workers 1 --no-timeline
  [ "$("$kiln" list | grep -c " running ")" -ge 2 ]
  "$kiln" exec "$name-b" -- sh -c 'getent hosts worker-1 && ! getent hosts worker-2'
  "$kiln" destroy "$name-b"
  status_is_healthy
}
a_killed_jvm_comes_back_and_the_job_ends_right() {
  "$kiln" submit "$name" --class org.apache.spark.examples.JavaSparkPi local:/opt/spark/examples/jars/spark-examples.jar 400 > "$scratch/pi" 2> "$scratch/pi.log" &
  job=$!
  for _ in $(seq 200); do
    "$kiln" exec "$name" --node worker-1 -- pgrep -f CoarseGrainedExecutorBackend > /dev/null && break
  done
  "$kiln" exec "$name" --node worker-1 -- pkill -9 -f kiln.Gate
  wait "$job"
  grep 'Pi is roughly 3.1' "$scratch/pi"
  for _ in $(seq 200); do
    "$kiln" status "$name" --json > "$scratch/status.json"
    python3 -c 'import json, sys
services = [s for n in json.load(open(sys.argv[1]))["nodes"] if n["name"] == "worker-1" for s in n["services"] if s["name"] == "spark.worker"]
sys.exit(not (services and services[0]["state"] == "ready" and services[0]["restarts"] >= 1))' "$scratch/status.json" && return 0
  done
  cat "$scratch/status.json"
  return 1
}
a_killed_node_is_told_and_the_job_ends_right() {
  "$kiln" submit "$name" --class org.apache.spark.examples.JavaSparkPi local:/opt/spark/examples/jars/spark-examples.jar 400 > "$scratch/pi" 2> "$scratch/pi.log" &
  job=$!
  for _ in $(seq 200); do
    "$kiln" exec "$name" --node worker-2 -- pgrep -f CoarseGrainedExecutorBackend > /dev/null && break
  done
  # PID 1 of the node, from outside its PID namespace: its host process
  agent=$(pgrep -f 'kiln-node run' | while read -r pid; do [ "$(nsenter -t "$pid" -U -u --preserve-credentials hostname 2>/dev/null || nsenter -t "$pid" -u hostname 2>/dev/null)" = worker-2 ] && echo "$pid"; done | head -1)
  [ -n "$agent" ]
  kill -9 "$agent"
  wait "$job"
  grep 'Pi is roughly 3.1' "$scratch/pi"
  "$kiln" status "$name" | grep -E '^worker-2 +[0-9.]+ +down'
}
destroys_without_a_trace() {
  "$kiln" destroy "$name"
  "$kiln" list > "$scratch/list"
  refute grep -q "^$name" "$scratch/list"
  traces > "$scratch/traces.after"
  # What is new since the launch; what others did meanwhile and ended is not ours.
  LC_ALL=C comm -13 "$scratch/traces.before" "$scratch/traces.after" > "$scratch/left"
  cat "$scratch/left"
  [ ! -s "$scratch/left" ]
  "$kiln" destroy "$name"
  "$kiln" gc | grep 'nothing is left behind'
}

cluster_suite() {
  check "bakes Spark's image" bakes
  check "bakes nothing the second time" bakes_nothing_again
  check "launches 1+2" launches
  check "lists it" lists
  check "status: three healthy nodes" status_is_healthy
  check "a cloud that cannot be asked is in nobody's way" needs_no_cloud
  check "module test: Spark and Python pass their own tests" modules_pass_their_tests
  check "both workers have registered" workers_have_registered
  check "nodes have their own root, name and address" nodes_are_separate
  check "exec: the worst exit code" exec_gives_the_worst_code
  check "exec: standard input" exec_passes_input
  check "cp: there and back" copies
  check "submit: SparkPi by JAR" pi_by_jar
  check "submit: word count equals sort | uniq -c" word_count_is_right
  check "submit: the same with the driver on a worker" word_count_on_a_worker
  check "submit: both workers compute" jobs_use_both_workers
  check "submit: a folder, arguments, the job's exit code" exit_code_is_the_jobs
  check "submit: --py-files and --conf" py_files_and_conf
  check "submit: numpy, scipy, pandas and pyarrow in the executors" libraries_work_together
  check "submit: --packages from a Maven repository" packages_from_maven
  check "shell: pyspark, spark-sql and bash" shells_run_what_they_read
  check "sql: a query, a file, a pipe" sql_runs
  check "logs" logs_have_the_services_words
  check "ui: reachable from the host" ui_answers_from_the_host
  check "timeline: text and a self-contained page" timeline_is_kept
  check "secrets are readable by their owners only" secrets_stay_secret
  check "Spark refuses who lacks the cluster's secret" unauthenticated_jobs_are_refused
  check "wrong words: exit code 2, and nothing changes" wrong_words_change_nothing
  check "resize up and down" resizes
  check "stop and start, disks kept" stops_and_starts_with_its_disks
  check "two clusters at once" two_clusters_do_not_meet
  check "launch: a deploy root's scripts run on every node" deploy_root_is_applied
  check "launch: a module that the image lacks is installed" modules_are_installed_at_launch
  check "kill -9 of a worker's JVM during a job" a_killed_jvm_comes_back_and_the_job_ends_right
  check "kill -9 of a whole worker during a job" a_killed_node_is_told_and_the_job_ends_right
  check "destroy leaves nothing" destroys_without_a_trace
}
