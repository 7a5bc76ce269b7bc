#!/bin/sh
exec sh -eu ./install.sh
