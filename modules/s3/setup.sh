#!/bin/sh
# Settings of S3A and of its committers: for Spark, before the lines of spark-defaults.conf that are there (the last of a name counts, so
# `-p spark.conf=…` goes over them), and for the command `s3`.
set -eu

conf=${SPARK_CONF_DIR:-/opt/spark/conf}
hadoop=${KILN_S3_CONF_DIR:-/opt/spark/s3/conf}

case $KILN_PARAM_ENDPOINT in
    '' | http://?* | https://?*) ;;
    *) echo "s3.endpoint must be a URL (http://… or https://…), found '$KILN_PARAM_ENDPOINT'" >&2; exit 1 ;;
esac
case $KILN_PARAM_ENDPOINT in *[!A-Za-z0-9_.:/\[\]-]*) echo "s3.endpoint: '$KILN_PARAM_ENDPOINT' is no URL" >&2; exit 1 ;; esac
case $KILN_PARAM_REGION in *[!a-z0-9-]* | '') echo "s3.region must be a region's name or auto, found '$KILN_PARAM_REGION'" >&2; exit 1 ;; esac
case $KILN_PARAM_PATH_STYLE in
    auto | true | false) ;;
    *) echo "s3.path_style must be true, false or auto, found '$KILN_PARAM_PATH_STYLE'" >&2; exit 1 ;;
esac
# An empty region makes the SDK ask the machine (AWS_REGION, or the metadata service); one that is not set would be us-east-2's service,
# which sends clients on. At another service than AWS's the name means little, and machines need not be EC2's.
region=$KILN_PARAM_REGION path_style=$KILN_PARAM_PATH_STYLE
[ "$region" != auto ] || { region=; [ -z "$KILN_PARAM_ENDPOINT" ] || region=us-east-1; }
[ "$path_style" != auto ] || { path_style=false; [ -z "$KILN_PARAM_ENDPOINT" ] || path_style=true; }

# The instance's role, or what a container gets in its place (ECS, EKS pod identities); in a pod with a role of its own (IRSA), that.
providers=org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider
[ -z "${AWS_WEB_IDENTITY_TOKEN_FILE-}" ] ||
    providers=software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider,$providers

# s3:// is s3a:// by its other name.
settings() {
    printf '%s\n' \
        "fs.s3.impl org.apache.hadoop.fs.s3a.S3AFileSystem" \
        "fs.AbstractFileSystem.s3.impl org.apache.hadoop.fs.s3a.S3A" \
        "fs.s3a.aws.credentials.provider $providers" \
        "fs.s3a.endpoint.region $region" \
        "fs.s3a.path.style.access $path_style" \
        "fs.s3a.committer.name magic" \
        "mapreduce.outputcommitter.factory.scheme.s3a org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory" \
        "mapreduce.outputcommitter.factory.scheme.s3 org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    [ -z "$KILN_PARAM_ENDPOINT" ] || echo "fs.s3a.endpoint $KILN_PARAM_ENDPOINT"
}

{
    echo '<?xml version="1.0"?>'
    echo '<!-- Written by kiln at every start of the node. -->'
    echo '<configuration>'
    settings | while read -r name value; do echo "  <property><name>$name</name><value>$value</value></property>"; done
    echo '</configuration>'
} > "$hadoop/core-site.xml"

# A new file, put into place at once: services may be reading the old one. It has a secret in it: same owner, same mode.
part=$conf/spark-defaults.conf.part
cp -p "$conf/spark-defaults.conf" "$part"
{
    echo "# S3 (module s3)."
    settings | while read -r name value; do echo "spark.hadoop.$name $value"; done
    # Data frames of every format, and Parquet, whose writer wants a committer of its own kind.
    echo "spark.sql.sources.commitProtocolClass org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
    echo "spark.sql.parquet.output.committer.class org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
    cat "$conf/spark-defaults.conf"
} > "$part"
mv "$part" "$conf/spark-defaults.conf"
