#!/bin/sh
script=setup.sh
. ./delegate
