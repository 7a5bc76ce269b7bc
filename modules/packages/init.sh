#!/bin/sh
# While baking: the same as at launch, for those who bring the files that early.
exec sh -eu ./install.sh
