#!/bin/sh
# Installs: the user's init.sh. While baking there may be no deploy root; then a node does it at launch, once.
script=init.sh
. ./delegate
