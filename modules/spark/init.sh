#!/bin/sh
# Installs Spark under /opt/spark: from the Python package's source distribution, or compiled from a source tree (source git).
set -eu

home=/opt/spark
java=/usr/lib/jvm/kiln/bin/java

# --- files -----------------------------------------------------------------------------------------------------------
rm -rf "$home"
if [ "$KILN_PARAM_SOURCE" = git ]; then
    sh tools/compile.sh "$KILN_SOURCE_TREE" "$home"
elif [ -n "$KILN_PARAM_REF" ]; then
    echo "spark: ref is '$KILN_PARAM_REF', but source is pypi: only source git compiles a commit" >&2
    exit 1
else
    # The package's deps/ is a whole Spark home, its pyspark/ and lib/ the Python side, which a Spark home keeps under python/.
    mv "$KILN_SOURCE_SPARK/deps" "$home"
    mkdir -p "$home/python"
    mv "$KILN_SOURCE_SPARK/pyspark" "$KILN_SOURCE_SPARK/lib" "$home/python/"
    # Spark takes a folder for a built distribution by this file.
    echo "Spark $KILN_PARAM_VERSION, installed by kiln" > "$home/RELEASE"
fi
mkdir -p "$home/conf" "$home/kiln" "$home/examples/jars"
rm -f "$home"/bin/*.cmd
chmod -R u=rwX,go=rX "$home"

# --- Python ----------------------------------------------------------------------------------------------------------
# One line each in a .pth file puts them on every python3's path; `import pyspark` needs no environment then.
set -- "$home"/python/lib/py4j-*-src.zip
printf '%s\n' "$home/python" "$1" > /usr/lib/python3/dist-packages/kiln-spark.pth
# Compiled now, since the user who runs Spark may not write here. Unchecked: the files' times change once more, when
# the layer is finished, and nobody edits them.
python3 -W ignore -m compileall -qq -j "$KILN_JOBS" --invalidation-mode unchecked-hash "$home/python/pyspark" || true
for zip in "$home"/python/lib/*.zip; do python3 -W ignore tools/jars.py compiled "$zip"; done

# --- our own Java: the worker's gate, the examples --------------------------------------------------------------------
# The compiler is a source and not a package: it serves here only, and a JDK would add 200 MB to every image.
classes=$(mktemp -d)
jars=$(LC_ALL=C; IFS=:; set -- "$home"/jars/*.jar; echo "$*")
set -- "$KILN_SOURCE_COMPILER"
[ -d "$1" ] && set -- "$1"/*.jar
"$java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -jar "$1" -17 -proc:none -nowarn -cp "$jars" -d "$classes" java
mkdir "$classes/examples"
mv "$classes/org" "$classes/examples/"
python3 tools/jars.py pack "$classes/examples" "$home/examples/jars/spark-examples.jar"
rm -r "$classes/examples"
python3 tools/jars.py pack "$classes" "$home/jars/kiln-spark.jar"
rm -r "$classes"

# --- scripts ---------------------------------------------------------------------------------------------------------
install -m 755 files/daemon files/submit "$home/kiln/"
install -m 644 tools/jars.py "$home/kiln/"
# The options that this version of Spark gives to each JVM (it opens JDK packages to itself), as it says itself.
SPARK_HOME=$home SPARK_SCALA_VERSION=any "$java" -cp "$jars" org.apache.spark.launcher.Main \
    org.apache.spark.deploy.SparkSubmit --class any any.jar \
    | tr '\0' '\n' | sed -n '/^-XX:+IgnoreUnrecognizedVMOptions$/p; /^--add-/p; /^--enable-/p; /^-Djdk\./p; /^-Dio\.netty\./p' \
    > "$home/kiln/java-options"
[ -s "$home/kiln/java-options" ] || { echo "spark: its launcher named no Java options" >&2; exit 1; }

# One jar that stands for all: a class path of 25 characters instead of 25,000, and one with a fixed order, which
# class-data archives need (`jars/*` has none).
LC_ALL=C
set -- "$home"/jars/*.jar
python3 tools/jars.py classpath "$home/kiln/spark.jar" "$@"
# The master and the workers need no SQL, no machine learning, no other cluster manager. Named is what they don't need,
# so that a jar that is added (a metrics sink, a recovery mode) is theirs too.
count=$#
for jar in "$@"; do
    case ${jar##*/} in
        spark-catalyst* | spark-connect* | spark-graphx* | spark-hive* | spark-kubernetes* | spark-mllib* | spark-pipelines* | \
        spark-repl* | spark-sql* | spark-streaming* | spark-variant* | spark-yarn*) ;;
        hive-* | kubernetes-* | vertx-* | jjwt-* | parquet-* | orc-* | arrow-* | flatbuffers-* | avro-* | datanucleus-* | derby* | \
        javax.jdo-* | jdo-api-* | HikariCP-* | libthrift-* | libfb303-* | javolution-* | stream-* | super-csv-* | opencsv-*) ;;
        breeze* | spire* | cats-* | algebra_* | arpack* | blas-* | lapack-* | JTransforms-* | JLargeArrays-* | commons-math3-* | \
        datasketches-* | jts-* | threeten-* | icu4j-* | univocity-* | jaxb-*) ;;
        scala-compiler-* | scala-reflect-* | scala-parallel* | scala-parser* | janino-* | commons-compiler-* | antlr* | ST4-* | \
        jline-* | *-osx-* | *-windows-*) ;;
        *) set -- "$@" "$jar" ;;
    esac
done
shift "$count"
python3 tools/jars.py classpath "$home/kiln/daemon.jar" "$@"

# --- user, folders ----------------------------------------------------------------------------------------------------
# A fixed number: files of one node mean the same on another.
if ! grep -q '^spark:' /etc/passwd; then
    echo 'spark:x:7077:' >> /etc/group
    echo 'spark:x:7077:7077:Apache Spark:/var/lib/spark:/bin/bash' >> /etc/passwd
    [ ! -e /etc/shadow ] || echo 'spark:!:0::::::' >> /etc/shadow
    [ ! -e /etc/gshadow ] || echo 'spark:!::' >> /etc/gshadow
fi
mkdir -p /var/lib/spark/work /var/lib/spark/local /var/lib/spark/events /var/lib/spark/warehouse
chown -R 7077:7077 /var/lib/spark
chmod 750 /var/lib/spark
# Made here, empty, so that setup.sh only has to write: those with the secret are the user spark's alone.
: > "$home/conf/spark-env.sh"
for name in spark-defaults.conf cluster.args; do
    : > "$home/conf/$name"
    chmod 600 "$home/conf/$name"
    chown 7077:7077 "$home/conf/$name"
done

# Commands that people type. Not links: Spark's scripts look for its home beside the name they were called by.
mkdir -p /usr/local/bin /etc/profile.d
for name in pyspark spark-shell spark-sql run-example; do
    printf '#!/bin/sh\nSPARK_HOME=%s exec %s/bin/%s "$@"\n' "$home" "$home" "$name" > "/usr/local/bin/$name"
    chmod 755 "/usr/local/bin/$name"
done
ln -sf "$home/kiln/submit" /usr/local/bin/spark-submit
echo "export SPARK_HOME=$home" > /etc/profile.d/kiln-spark.sh
