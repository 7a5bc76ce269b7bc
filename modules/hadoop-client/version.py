"""Which Hadoop a job works with, on the driver and in what Spark itself says of its class path."""
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("hadoop-client test").getOrCreate()
print("version", spark._jvm.org.apache.hadoop.util.VersionInfo.getVersion())
path = sys.argv[1]
spark.range(100).write.mode("overwrite").parquet(path)
print("rows", spark.read.parquet(path).count())
spark.stop()
