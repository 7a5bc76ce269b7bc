#!/bin/sh
# This node is about to leave: its workers take nothing new, their executors hand their cached and shuffled blocks to others and end when
# their tasks have. Ends when nothing runs here, or after KILN_DRAIN_SECONDS.
set -eu

[ "$KILN_ROLE" = worker ] || exit 0
# What Spark's own decommission-worker.sh sends; kiln.Gate is the worker (files/daemon).
pkill -PWR -u spark -f ' kiln\.Gate |org\.apache\.spark\.deploy\.worker\.Worker ' || exit 0
set --
while [ $# -lt "$KILN_PARAM_WORKER_INSTANCES" ]; do set -- "$@" "http://$KILN_NODE:$((8081 + $#))/json/"; done
exec python3 tools/wait-until-idle.py "$KILN_DRAIN_SECONDS" "$@"
