#!/bin/sh
# One wheel, which needs nothing but unpacking, and the command that users know.
set -eu
site=$(python3 -c 'import sys
print(next(path for path in sys.path if path.startswith("/usr/local/lib/")))')
python3 -m zipfile -e "$KILN_SOURCE_WHEEL" "$site"
python3 -m compileall -qq --invalidation-mode unchecked-hash "$site/vowpalwabbit"
cat > /usr/local/bin/vw <<'COMMAND'
#!/bin/sh
exec python3 -m vowpalwabbit "$@"
COMMAND
chmod 755 /usr/local/bin/vw
