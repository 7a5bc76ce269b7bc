#!/bin/sh
# Says what runs on this node's Spark, for a cluster that shall end when nothing does (kiln launch --idle).
set -eu

exec python3 tools/what-runs.py "$KILN_ROLE" "$KILN_NODE" "$KILN_PARAM_WORKER_INSTANCES" "$KILN_BUSY_SINCE"
