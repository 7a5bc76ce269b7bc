#!/bin/sh
# The command learns what is above zero, and the library is of the version asked for.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do
  printf '1 | up:%s\n-1 | down:%s\n' "$i" "$i"
done > "$folder/train"
vw --quiet --loss_function logistic --binary --passes 5 -c --cache_file "$folder/cache" -d "$folder/train" -f "$folder/model"
printf '| up:3\n| down:3\n' > "$folder/ask"
vw --quiet -t -i "$folder/model" -d "$folder/ask" -p "$folder/answers"
printf '1\n-1\n' | cmp - "$folder/answers"
python3 -c 'import sys, vowpalwabbit
sys.exit(vowpalwabbit.__version__ != sys.argv[1])' "$KILN_PARAM_VERSION"
echo "vw: $KILN_PARAM_VERSION learns and answers"
