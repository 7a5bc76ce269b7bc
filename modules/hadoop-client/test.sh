#!/bin/sh
# A job works with that version, and reads and writes through it; there is one of each jar.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 1777 "$work"
out=$(/opt/spark/kiln/submit --master 'local[1]' version.py "file://$work/numbers" 2> "$work/log") || { tail -n 30 "$work/log" >&2; exit 1; }
[ "$out" = "version $KILN_PARAM_VERSION
rows 100" ] || { echo "hadoop-client: wanted version $KILN_PARAM_VERSION, the job printed: $out" >&2; exit 1; }
for name in api runtime; do
    set -- /opt/spark/jars/hadoop-client-"$name"-*.jar
    [ $# = 1 ] || { echo "hadoop-client: $*" >&2; exit 1; }
done
echo "hadoop-client: a job works with Hadoop $KILN_PARAM_VERSION"
