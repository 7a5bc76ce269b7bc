#!/bin/sh
# Both names lead to S3A, and everything that it loads is there: it gets as far as to a port of this machine at which nobody listens.
set -eu

for scheme in s3 s3a; do
    code=0
    said=$(s3 -D fs.s3a.endpoint=http://127.0.0.1:9 -D fs.s3a.endpoint.region=us-east-1 -D fs.s3a.attempts.maximum=0 -D fs.s3a.retry.limit=0 \
        -D fs.s3a.aws.credentials.provider=org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider -ls "$scheme://nobody/" 2>&1) || code=$?
    case $code:$said in
        1:*"Connection refused"*) echo "s3: $scheme:// is S3A's" ;;
        *) echo "s3: -ls $scheme://nobody/ ended with $code: $said" >&2; exit 1 ;;
    esac
done
