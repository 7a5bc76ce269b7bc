#!/bin/sh
# Replaces the jars, and their names in the class paths that Spark's module made (jars that stand for all: modules/spark/init.sh).
set -eu

home=/opt/spark
for name in api runtime; do
    [ -e "$KILN_SOURCE_JARS/hadoop-client-$name-$KILN_PARAM_VERSION.jar" ] || { echo "hadoop-client: no hadoop-client-$name in what came" >&2; exit 1; }
    rm -f "$home/jars/hadoop-client-$name"-[0-9]*.jar
    install -m 644 "$KILN_SOURCE_JARS/hadoop-client-$name-$KILN_PARAM_VERSION.jar" "$home/jars/"
done
for jar in spark daemon; do
    python3 replace.py "$home/kiln/$jar.jar" "$home/jars" "$KILN_PARAM_VERSION" | xargs python3 "$home/kiln/jars.py" classpath "$home/kiln/$jar.jar"
done
# Class-data archives remember the jars that they were made with. A bake makes them after this; at launch there are none then, and JVMs start
# a second or two later.
rm -f "$home"/kiln/*.jsa
