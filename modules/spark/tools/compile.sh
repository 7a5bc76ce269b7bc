#!/bin/sh
# Compiles Spark as its own release makers do, by dev/make-distribution.sh, and makes a Spark home of what that gives:
#   compile.sh TREE HOME
set -eu
tree=$1
home=$2
fail() {
    echo "spark: $*" >&2
    exit 1
}
[ -f "$tree/dev/make-distribution.sh" ] || fail "'$KILN_PARAM_REPO' is no source tree of Spark: it has no dev/make-distribution.sh at '$KILN_PARAM_REF'"

# A copy: the tree may not be written, and its times are older than any that a jar can hold. /var/tmp is on the layer's disk, and no part
# of the layer.
work=$(mktemp -d /var/tmp/spark.XXXXXX)
trap 'rm -rf "$work"' EXIT
cp -r "$tree/." "$work"
cd "$work"

# The image's own Java where it has a compiler now; else the one that the build packages brought.
JAVA_HOME=/usr/lib/jvm/kiln
if [ ! -x "$JAVA_HOME/bin/javac" ]; then
    javac=$(command -v javac) || fail "no javac: build packages are in the module's manifest"
    javac=$(readlink -f "$javac")
    JAVA_HOME=${javac%/bin/javac}
fi
export JAVA_HOME

# As many options as there are words.
# shellcheck disable=SC2086
set -- -B -ntp $KILN_PARAM_BUILD_OPTIONS
[ -z "$KILN_PARAM_HADOOP_VERSION" ] || set -- "$@" "-Dhadoop.version=$KILN_PARAM_HADOOP_VERSION"
# Spark may get a Maven of its own, which would not look there.
[ ! -f /etc/maven/settings.xml ] || set -- "$@" -gs /etc/maven/settings.xml
bash dev/make-distribution.sh "$@"

for folder in jars bin python/pyspark python/lib; do
    [ -d "dist/$folder" ] || fail "dev/make-distribution.sh made no dist/$folder"
done
version=$(sed -n '1s/^Spark \([^ ]*\).*/\1/p' dist/RELEASE)
[ -n "$version" ] || fail "dist/RELEASE does not say Spark's version"
{
    echo "Spark $version (git revision $KILN_SOURCE_TREE_COMMIT), compiled by kiln"
    sed 1d dist/RELEASE
} > dist/RELEASE.new
mv dist/RELEASE.new dist/RELEASE
# Beside these, python/ has what Spark's own developers need.
for entry in dist/python/* dist/python/.[!.]*; do
    case ${entry##*/} in
        pyspark | lib) ;;
        *) rm -rf "$entry" ;;
    esac
done
mv dist "$home"
