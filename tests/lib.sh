# Sourced by the .test files: a case a function, a line a case.
#
#   check NAME COMMAND…   runs it; prints ok: NAME, or FAILED: NAME with what it printed
#   expect_failure CODE TEXT COMMAND…   true when it exits with CODE and prints TEXT
#   skip WHY              says it, and ends the file
# shellcheck shell=sh
set -u
build=${KILN_BUILD:-build}
kiln=$build/kiln
source_tree=${KILN_SOURCE:-$PWD}
failures=0
scratch=$(mktemp -d)

check() {
  check_title=$1
  shift
  # Not inside an `if`: there the shell would ignore -e, and only a case's last command could fail.
  ( set -eu; "$@" ) > "$scratch/.output" 2>&1
  check_code=$?
  if [ "$check_code" = 0 ]; then
    echo "ok: $check_title"
  else
    echo "FAILED: $check_title"
    sed 's/^/    | /' "$scratch/.output" | tail -n 40
    failures=$((failures + 1))
  fi
}

# True when the command fails (`! command` alone is nothing that -e looks at).
refute() {
  if "$@"; then
    echo "this should have failed: $*"
    return 1
  fi
}

expect_failure() {
  wanted_code=$1 wanted_text=$2
  shift 2
  code=0
  "$@" > "$scratch/.said" 2>&1 || code=$?
  cat "$scratch/.said"
  if [ "$code" != "$wanted_code" ]; then
    echo "exit code $code, expected $wanted_code"
    return 1
  fi
  if ! grep -qF -- "$wanted_text" "$scratch/.said"; then
    echo "it does not say: $wanted_text"
    return 1
  fi
}

skip() {
  echo "SKIPPED: $*"
  exit 0
}

# The file's last line: exit code by what failed.
finish() {
  exit $((failures > 0))
}
