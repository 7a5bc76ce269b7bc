#!/bin/sh
script=run.sh
. ./delegate
