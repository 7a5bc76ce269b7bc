#!/bin/sh
script=test.sh
. ./delegate
