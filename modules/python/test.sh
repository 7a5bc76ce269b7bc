#!/bin/sh
# The libraries load, have the versions asked for, and fit each other: a table goes from pandas to Arrow and back.
set -eu

python3 - "$KILN_PARAM_NUMPY" "$KILN_PARAM_SCIPY" "$KILN_PARAM_PANDAS" "$KILN_PARAM_PYARROW" <<'PYTHON'
import sys
import numpy, scipy.linalg, pandas, pyarrow

found = [module.__version__ for module in (numpy, scipy, pandas, pyarrow)]
if found != sys.argv[1:]:
    sys.exit(f"python: wanted numpy, scipy, pandas, pyarrow {sys.argv[1:]}, found {found}")
table = pandas.DataFrame({"n": numpy.arange(5), "name": list("abcde")})
assert pyarrow.Table.from_pandas(table).to_pandas().equals(table)
assert abs(scipy.linalg.det(numpy.eye(3) * 2) - 8) < 1e-9
print("python:", sys.version.split()[0], "numpy, scipy, pandas, pyarrow", *found)
PYTHON
