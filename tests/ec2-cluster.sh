# What the tests of clusters on the fake EC2 share; sourced after tests/lib.sh and tests/cloud/fake.sh. Spark's image is baked in
# $KILN_TEST_HOME, which is kept.
# shellcheck shell=sh
name=cloud-$$

# Skips the test where the fake's machines can't run.
start_cloud() {
  [ "$(id -u)" = 0 ] || skip "machines in network namespaces need root"
  for program in ssh mke2fs sfdisk mkfs.vfat mcopy curl; do
    command -v "$program" > /dev/null || [ -x "/usr/sbin/$program" ] || skip "there is no $program here"
  done
  KILN_HOME=${KILN_TEST_HOME:-/var/tmp/kiln-test-0}
  export KILN_HOME
  trap 'stop_fake; rm -rf "$scratch" "$KILN_HOME/aws/clusters/$name"' EXIT
  start_fake --settings '{"snapshot_ms": 100, "image_copy_ms": 200}' "$@"
  venv=$("$source_tree/tests/pypi-tools" fake-ec2 'moto[server]==5.2.5' boto3==1.44.5 awscli==1.46.3)
}
in_region() { in_cloud "$kiln" "$@"; }
makes_the_image() {
  "$kiln" bake spark --target ami --regions us-east-1 --ami-list "$scratch/ami-list" > "$scratch/bake" 2>&1 || { cat "$scratch/bake"; return 1; }
  fake DELETE log
}
# launch [WORKERS] [OPTION…]
launch() {
  launch_workers=${1:-2}
  [ $# = 0 ] || shift
  in_region launch "$name" --on aws --workers "$launch_workers" --authorized 198.51.100.10/32 --instance-type m5.large "$@"
}
# "CreateSecurityGroup 1, RunInstances 2": what has changed something.
mutating() {
  fake GET 'log?mutating=true' | python3 -c 'import collections, json, sys
print(", ".join(f"{name} {count}" for name, count in sorted(collections.Counter(r["operation"] for r in json.load(sys.stdin)).items())))'
}
operations() { fake GET "log?operation=$1" | python3 -c 'import json, sys; print(sum(r["status"] < 300 for r in json.load(sys.stdin)))'; }
# On the node: every file, every process's environment and words. Prints where one of the words is.
search_node() {
  { printf 'WORDS = %s\n' "$2"; cat "$source_tree/tests/find_words.py"; } > "$scratch/search.py"
  in_region exec "$name" --node "$1" -- python3 - < "$scratch/search.py"
}
# One value of what EC2 says of instances that are not terminated: facts EXPRESSION, with `all` a list of (node, instance).
facts() {
  "$venv/aws" ec2 describe-instances --region us-east-1 --output json > "$scratch/instances.json"
  python3 - "$scratch/instances.json" "$1" << 'PY'
import json, sys
every = [i for r in json.load(open(sys.argv[1]))["Reservations"] for i in r["Instances"] if i["State"]["Name"] != "terminated"]
def node(instance):
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return f"{tags.get('kiln:role')}-{int(tags.get('kiln:first', 0)) + instance['AmiLaunchIndex']}"
all = [(node(instance), instance) for instance in every]
print(eval(sys.argv[2]))
PY
}
public_address() { facts "[i['PublicIpAddress'] for n, i in all if n == '$1'][0]"; }
instance_of() { facts "[i['InstanceId'] for n, i in all if n == '$1'][0]"; }
# In EC2's own words: no machine, volume, group but the VPC's own; and nothing on this machine.
nothing_is_left() {
  [ "$(facts 'all')" = '[]' ]
  [ "$("$venv/aws" ec2 describe-volumes --region us-east-1 --query 'Volumes[].VolumeId' --output text)" = '' ]
  [ "$("$venv/aws" ec2 describe-security-groups --region us-east-1 --query 'SecurityGroups[].GroupName' --output text)" = default ]
  [ ! -e "$KILN_HOME/aws/clusters/$name" ]
  [ "$(in_region list --json)" = '[]' ]
}
