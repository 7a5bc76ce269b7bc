# The fake EC2 for tests in shell; sourced after tests/lib.sh. See docs/fake-ec2.md.
#
#   start_fake [OPTION…]        starts tests/cloud/up and exports what clients need; skips the test where it can't be had
#   stop_fake                   put it into the trap on EXIT
#   fake METHOD PATH [JSON]     a control request: fake POST faults '{"operation": "CopyImage", "kind": "throttle"}'
#   in_cloud COMMAND…           runs it where public addresses lead to machines, with the endpoint that is right there
#   no_violations               fails, saying which, when a request broke a service's model or was signed wrong
# shellcheck shell=sh
start_fake() {
  "$source_tree/tests/cloud/up" --state "$scratch/fake-state" --environment "$scratch/fake.env" "$@" > "$scratch/fake.log" 2>&1 &
  echo $! > "$scratch/fake.pid"
  while [ ! -e "$scratch/fake.env" ]; do
    kill -0 "$(cat "$scratch/fake.pid")" 2> /dev/null || skip "the fake EC2 does not start: $(tail -n 3 "$scratch/fake.log")"
    sleep 0.05
  done
  for variable in $(env | sed -n 's/^\(AWS_[A-Z0-9_]*\)=.*/\1/p'); do unset "$variable"; done
  AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
  export AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE
  # shellcheck disable=SC1091
  . "$scratch/fake.env"
}

stop_fake() {
  [ -e "$scratch/fake.pid" ] || return 0
  kill "$(cat "$scratch/fake.pid")" 2> /dev/null || true
  while kill -0 "$(cat "$scratch/fake.pid")" 2> /dev/null; do sleep 0.05; done
  rm -f "$scratch/fake.pid" "$scratch/fake.env"
}

fake() {
  curl --silent --show-error --fail-with-body -X "$1" ${3:+--data "$3"} "$AWS_ENDPOINT_URL/_fake/$2"
}

in_cloud() {
  fake GET client > "$scratch/fake.client"
  python3 -c 'import json, os, sys
place = json.load(open(sys.argv[1]))
words = place["prefix"] + sys.argv[2:]
os.execvpe(words[0], words, dict(os.environ, AWS_ENDPOINT_URL=place["endpoint"]))' "$scratch/fake.client" "$@"
}

no_violations() {
  said=$(fake GET violations)
  [ "$said" = '[]' ] || { echo "$said"; return 1; }
}
