#!/bin/sh
# The runtime is where others look for it, and has the version that was asked for.
set -eu

found=$(/usr/lib/jvm/kiln/bin/java -version 2>&1)
case $found in
    *\""$KILN_PARAM_VERSION".*|*\""$KILN_PARAM_VERSION"\"*) echo "java: ${found%%
*}" ;;
    *) printf 'java: wanted version %s, found:\n%s\n' "$KILN_PARAM_VERSION" "$found" >&2; exit 1 ;;
esac
