#!/bin/sh
# Unpacks the wheels where the distribution's python3 looks for what the administrator installs: no pip in the image, no network.
set -eu

# Asked and not composed: Debian says dist-packages, others site-packages.
python=python3
site=$("$python" -c 'import sys
print(next(path for path in sys.path if path.startswith("/usr/local/lib/")))')

"$python" unpack.py "$site" /usr/local/bin "$KILN_SOURCE_WHEELS"/*.whl

# Compiled now: the user who runs jobs may not write here, and would compile pandas at every start (3 s). "Unchecked", since
# the files' times change once more when the layer is finished. Some files are templates and tests of syntax errors.
"$python" -W ignore -m compileall -qq -j "$KILN_JOBS" --invalidation-mode unchecked-hash "$site" || true
