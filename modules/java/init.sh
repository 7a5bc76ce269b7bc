#!/bin/sh
# Gives the runtime one stable place, /usr/lib/jvm/kiln, and tells login shells of it.
# The package itself came with the image's package transaction (module.yaml).
set -eu

version=$KILN_PARAM_VERSION
# Debian and the RPM distributions name the folder differently; the first that has a java in it is the one.
for home in "/usr/lib/jvm/java-$version-openjdk-$KILN_ARCH" "/usr/lib/jvm/java-$version-openjdk" \
            "/usr/lib/jvm/jre-$version-openjdk"; do
    [ -x "$home/bin/java" ] && break
    home=
done
if [ -z "$home" ]; then
    echo "java: no Java $version under /usr/lib/jvm (there: $(cd /usr/lib/jvm 2>/dev/null && echo *))" >&2
    exit 1
fi

# Relative, so that the link is right too when the image's files are looked at from outside.
ln -sfn "${home##*/}" /usr/lib/jvm/kiln

mkdir -p /etc/profile.d
echo 'export JAVA_HOME=/usr/lib/jvm/kiln' > /etc/profile.d/kiln-java.sh
