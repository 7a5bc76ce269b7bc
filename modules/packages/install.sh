#!/bin/sh
# Installs all package files of the folder in one transaction, so that they may depend on each other in any order.
# Safe to run again: what is there in the same version is left out, so a second start of a node costs one query.
set -eu

folder=${KILN_DEPLOY_ROOT:-/opt/kiln/deploy-root}/$KILN_PARAM_DIRECTORY
done=/var/lib/kiln/packages-module
[ -d "$folder" ] || exit 0

# Name, size and time of each file: the same as last time means nothing to do.
seen=$(ls -ln --time-style=+%s "$folder")
[ ! -f "$done" ] || [ "$(cat "$done")" != "$seen" ] || exit 0

set -- "$folder"/*.deb
if [ -e "$1" ]; then
    for file in "$@"; do
        fields=$(dpkg-deb --show --showformat='${Package}:${Architecture} ${Version}' "$file")
        installed=$(dpkg-query --show --showformat='${Version}' "${fields% *}" 2>/dev/null || true)
        shift
        [ "$installed" = "${fields##* }" ] || set -- "$@" "$file"
    done
    if [ $# -gt 0 ]; then
        # dpkg and not apt: nothing may be fetched, and a missing dependency should be named and not worked around.
        DEBIAN_FRONTEND=noninteractive dpkg --install --force-confold "$@"
    fi
fi

set -- "$folder"/*.rpm
if [ -e "$1" ]; then
    command -v rpm > /dev/null || { echo "packages: '$1' is for a distribution with rpm; this one has none" >&2; exit 1; }
    rpm --upgrade --replacepkgs "$@"
fi

mkdir -p "${done%/*}"
printf '%s\n' "$seen" > "$done"
